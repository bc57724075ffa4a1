/** What a node depends on. */
import type { Node } from "./types.ts";

/** Values that must exist before the node runs: its inputs and what its subgraphs read. */
export function readBy(node: Node): readonly string[] {
  const captured = [...node.attributes.values()].flatMap((attribute) =>
    attribute.type === "graph" || attribute.type === "opaque" ? attribute.captures : [],
  );
  return [...node.inputs.filter((value) => value !== ""), ...captured];
}
