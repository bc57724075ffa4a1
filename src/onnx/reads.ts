/** What nodes and values depend on. */
import type { Graph, Node } from "./types.ts";

/** Values that must exist before the node runs: its inputs and what its subgraphs read. */
export function readBy(node: Node): readonly string[] {
  const captured = [...node.attributes.values()].flatMap((attribute) =>
    attribute.type === "graph" || attribute.type === "opaque" ? attribute.captures : [],
  );
  return [...node.inputs.filter((value) => value !== ""), ...captured];
}

/** Initializers that no caller can override, and what is computed from nothing else. */
export function constantValues(graph: Graph): Set<string> {
  const constant = new Set(
    [...graph.initializers.keys()].filter((name) => !graph.overridable.has(name)),
  );
  for (const node of graph.nodes) {
    // Operators without inputs may be random.
    const reads = readBy(node);
    const isConstant =
      (node.opType === "Constant" && node.domain === "") ||
      (reads.length > 0 && reads.every((value) => constant.has(value)));
    if (isConstant) for (const value of node.outputs) constant.add(value);
  }
  return constant;
}
