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

/** The key of a node's operator; functions that carry their variant in their name have one for all of them. */
export function operatorKey({ domain, opType }: Pick<OperatorNode, "domain" | "opType">): string {
  if (domain === "" || domain === "ai.onnx") return opType;
  const isUnpacked = domain === "bitloom" && opType.startsWith("Unpacked");
  return isUnpacked ? "bitloom::Unpacked" : `${domain}::${opType}`;
}
