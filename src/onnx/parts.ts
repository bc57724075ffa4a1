/**
 * A model as two lists of records, in file order: those of ModelProto and those of GraphProto.
 * Not here: what they mean together (`graph.ts`, `model.ts`). Invariant: a part that nobody replaced is written as it
 * was read, whether or not we understand it.
 */

import type { GraphNode } from "./node.ts";
import type { Content } from "./origin.ts";
import type { TensorSource, ValueInfo } from "./types.ts";

export type GraphPart =
  | { readonly kind: "node"; readonly node: GraphNode }
  /** Without content: added in memory. */
  | { readonly kind: "initializer"; readonly tensor: TensorSource; readonly content?: Content }
  | ValuePart<"input">
  | ValuePart<"output">
  | ValuePart<"valueInfo">
  /** The value that a sparse initializer defines. */
  | NamedPart<"sparse">
  /** The value that a quantization annotation speaks of. */
  | NamedPart<"annotation">
  /** The graph's own name. */
  | NamedPart<"name">
  | { readonly kind: "other"; readonly content: Content };

interface ValuePart<K extends string> {
  readonly kind: K;
  readonly info: ValueInfo;
  readonly content: Content;
}

interface NamedPart<K extends string> {
  readonly kind: K;
  readonly name: string;
  readonly content: Content;
}

export type ModelPart =
  | { readonly kind: "graph" }
  | { readonly kind: "irVersion"; readonly version: number; readonly content: Content }
  | {
      readonly kind: "opset";
      readonly domain: string;
      readonly version: number;
      readonly content: Content;
    }
  /** `key` is "domain::name". */
  | { readonly kind: "function"; readonly key: string; readonly content: Content }
  /** Without value: read from the content when asked for. */
  | {
      readonly kind: "metadata";
      readonly key: string;
      readonly value?: string;
      readonly content: Content;
    }
  | { readonly kind: "training"; readonly content: Content }
  | { readonly kind: "other"; readonly content: Content };

/** The parts of one kind. */
export function partsOf<P extends GraphPart | ModelPart, K extends P["kind"]>(
  parts: readonly P[],
  kind: K,
): Extract<P, { readonly kind: K }>[] {
  return parts.filter((part): part is Extract<P, { readonly kind: K }> => part.kind === kind);
}
