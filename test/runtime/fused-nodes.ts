/** The nodes of a model as a session would run them. */
import type { Model } from "../../src/onnx/index.ts";
import { fuse } from "../../src/runtime/fusion/index.ts";
import { operatorKey, operators } from "../../src/runtime/operators/index.ts";
import { NodeGraph } from "../../src/runtime/session/node-graph.ts";

/** The graph after all fusions; `int8` holds the widths whose codes are multiplied with 8-bit activations. */
export async function fusedNodes(
  model: Model,
  int8: readonly number[] = [2, 3, 4, 5, 6],
): Promise<NodeGraph> {
  const nodes = new NodeGraph(model, (node, context) => {
    const operator = operators[operatorKey(node)];
    return operator?.refuses?.(node, context) === undefined ? operator : undefined;
  });
  await fuse(nodes, { activationType: (bits) => (int8.includes(bits) ? "int8" : "int16") });
  return nodes;
}

/** How many nodes there are of each kind. */
export function kindsOf({ nodes }: NodeGraph): Map<string, number> {
  const kinds = new Map<string, number>();
  for (const { opType } of nodes) kinds.set(opType, (kinds.get(opType) ?? 0) + 1);
  return kinds;
}
