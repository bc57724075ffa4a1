/**
 * Every operator that the session runs itself, by "domain::name" ("name" alone for ai.onnx). What is missing here goes
 * to the fallback.
 */
import type { Operator, OperatorNode } from "../session/operator.ts";
import { matrixOperators } from "./matrix/index.ts";
import { tensorOperators } from "./tensor/index.ts";
import { transformerOperators } from "./transformer/index.ts";

export const operators: Readonly<Record<string, Operator>> = {
  ...tensorOperators,
  ...matrixOperators,
  ...transformerOperators,
};

export const operatorKey = ({ domain, opType }: Pick<OperatorNode, "domain" | "opType">): string =>
  domain === "" || domain === "ai.onnx" ? opType : `${domain}::${opType}`;
