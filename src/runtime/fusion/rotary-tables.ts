/**
 * What must be known of the tables and sizes of a rotary embedding before it may become one node: read off the nodes
 * that make them.
 */
import type { NodeGraph } from "../session/node-graph.ts";
import { integers, intOf, isNode, madeBy, scalar } from "./pattern.ts";

/** Nodes that work element by element, or along other axes than the last. */
const elementwise = ["Cast", "Cos", "Sin", "Identity"];

/** True when both halves of the last axis are equal, whatever the feeds are. */
export async function halvesAgree(graph: NodeGraph, value: string): Promise<boolean> {
  if (graph.isConstant(value)) return constantHalvesAgree(graph, value);
  const node = graph.producer(value);
  if (!node) return false;
  const [input, second] = node.inputs;
  if (isNode(node, ...elementwise)) return halvesAgree(graph, input);
  if (isNode(node, "Concat")) {
    const isLast = intOf(node, "axis", 0) === -1;
    return isLast && node.inputs.length === 2 && input === second;
  }
  if (isNode(node, "Mul")) {
    const isScaled = (await scalar(graph, second)) !== undefined;
    return isScaled && halvesAgree(graph, input);
  }
  if (isNode(node, "Unsqueeze")) {
    const axes = await integers(graph, second);
    return axes?.every((axis) => axis === 0 || axis === 1) === true && halvesAgree(graph, input);
  }
  if (isNode(node, "Slice")) {
    const axes = await integers(graph, node.inputs[3]);
    return axes?.length === 1 && axes[0] === 0 && halvesAgree(graph, input);
  }
  if (isNode(node, "Gather")) return intOf(node, "axis", 0) === 0 && halvesAgree(graph, input);
  return false;
}

async function constantHalvesAgree(graph: NodeGraph, value: string): Promise<boolean> {
  const table = await graph.constant(value);
  const width = table?.shape.at(-1) ?? 0;
  if (!table || table.shape.length < 2 || width === 0 || width % 2) return false;
  const half = width / 2;
  return table.data.every((x, i) => i % width < half || Object.is(x, table.data[i - half]));
}

/** True for ⌊last size of x / 2⌋, perhaps as a tensor of one element. */
export async function isHalfOfLastAxis(
  graph: NodeGraph,
  value: string,
  x: string,
): Promise<boolean> {
  const node = graph.producer(value);
  if (!node) return false;
  if (isNode(node, "Unsqueeze", "Cast", "Squeeze"))
    return isHalfOfLastAxis(graph, node.inputs[0], x);
  if (!isNode(node, "Div") || (await scalar(graph, node.inputs[1])) !== 2) return false;
  const size = madeBy(graph, node.inputs[0], "Gather");
  const shape = madeBy(graph, size?.inputs[0], "Shape");
  if (!size || shape?.inputs[0] !== x) return false;
  const axis = await scalar(graph, size.inputs[1]);
  return axis === -1 || axis === 3;
}
