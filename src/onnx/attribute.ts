/**
 * Attributes of new nodes, one small function per kind: `{ axis: attribute.int(0) }`.
 */
import { intField } from "./field.ts";
import { graphContent } from "./layout.ts";
import { storedModelOf } from "./model.ts";
import { withOrigin } from "./origin.ts";
import { concat, messageField } from "./piece.ts";
import { attributeFields, attributeTypes } from "./schema.ts";
import type { Attribute, Model, TensorSource } from "./types.ts";

/** Attributes of new nodes, by kind. */
export const attribute = {
  /** An int64; doubles at or beyond ±2^63 are written as the ends of the range. */
  int: (value: number): Attribute => ({ type: "int", value }),
  /** A float32. */
  float: (value: number): Attribute => ({ type: "float", value }),
  ints: (value: readonly number[]): Attribute => ({ type: "ints", value }),
  floats: (value: readonly number[]): Attribute => ({ type: "floats", value }),
  /** A UTF-8 text. */
  str: (value: string): Attribute => ({ type: "string", value }),
  strings: (value: readonly string[]): Attribute => ({ type: "strings", value }),
  /** A tensor, stored inside the node. */
  tensor: (value: TensorSource): Attribute => ({ type: "tensor", value }),
  /** Inside a function body: the value of the calling node's attribute `name`. */
  reference: (name: string, of: "int" | "float" | "ints"): Attribute => ({
    type: "reference",
    value: name,
    of,
  }),
  subgraph,
} as const;

/**
 * The graph of `body` as the body of If, Loop or Scan.
 *
 * @param captures - inputs of `body` that are values of the outer graph: taken off its input list.
 */
function subgraph(body: Model, captures: readonly string[] = []): Attribute {
  const { graph, graphParts } = storedModelOf(body);
  const parts = graphParts.filter(
    (part) => part.kind !== "input" || !captures.includes(part.info.name),
  );
  const piece = concat([
    messageField(attributeFields.graph, graphContent(parts)),
    intField(attributeFields.type, attributeTypes.graph),
  ]);
  const names = new Set(graph.nodes.flatMap((node) => [...node.outputs, ...node.innerNames]));
  return withOrigin({ type: "graph", captures }, { piece, names });
}
