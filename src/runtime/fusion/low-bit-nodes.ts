/**
 * Turns the low-bit products and lookups of a file into internal nodes that read the stored tensors themselves: what
 * names the same codes, however it reshapes or widens them, then shares one packed buffer.
 */
import { lowBitGather, lowBitNode } from "../operators/matrix/low-bit-node.ts";
import { lowBitReader, type ValueFacts } from "../operators/matrix/low-bit-readers.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import { isFloat } from "../session/storage.ts";

export async function lowBitNodes(graph: NodeGraph): Promise<void> {
  const facts = factsOf(graph);
  for (const node of graph.nodes) {
    const use = lowBitReader(node)?.(node, facts);
    if (use === undefined || typeof use === "string") continue;
    if (use.kind === lowBitGather && !(await keepsRows(graph, node.inputs[0]))) continue;
    graph.replace([node], [lowBitNode(use, node.name, node.outputs[0])]);
  }
}

export function factsOf(graph: NodeGraph): ValueFacts {
  return {
    isConstant: (value) => graph.isConstant(value),
    dtype: (value) => graph.dtype(value),
    shape: (value) => graph.constants.source(value)?.shape,
    traced: (value) => traced(graph, value),
  };
}

/** Follows Reshape, and Cast from 16-bit floats to float32, which are the same numbers in memory. */
function traced(graph: NodeGraph, value: string): string {
  let at = value;
  for (;;) {
    if (graph.constants.source(at)) return at;
    const node = graph.model.graph.producer(at);
    if (node?.domain !== "") return value;
    const to = node.attributes.get("to");
    const isWidening =
      node.opType === "Cast" &&
      to?.type === "int" &&
      to.value === 1 &&
      isFloat(graph.dtype(node.inputs[0]));
    if (!isWidening && node.opType !== "Reshape") return value;
    at = node.inputs[0];
  }
}

/** False when a Reshape cuts the rows of a table anew; its first dimension must stay. */
async function keepsRows(graph: NodeGraph, table: string): Promise<boolean> {
  const reshape = graph.model.graph.producer(table);
  if (reshape?.opType !== "Reshape") return true;
  const target = await graph.constant(reshape.inputs[1]);
  const rows = graph.constants.source(reshape.inputs[0])?.shape[0];
  return target?.data.length === 2 && (target.data[0] === rows || target.data[0] === 0);
}
