/**
 * The scores of an attention: product of queries and keys with its scale, wherever that is multiplied, and a soft cap.
 */
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { integers, isNode, madeBy, otherInput, scalar } from "./pattern.ts";

export interface Scores {
  readonly queries: string;
  /** Transposed. */
  readonly keys: string;
  readonly scale: number;
  /** Values of one element that multiply the scale, computed from shapes. */
  readonly scales: readonly string[];
  /** 0: none. */
  readonly softcap: number;
}

const inner = (graph: NodeGraph, value: string): OperatorNode | undefined =>
  !graph.isOutput(value) && graph.uses(value).length === 1 ? graph.producer(value) : undefined;

/** Reads cap(scale · (s₁·q)·(s₂·kᵀ)). */
export async function scoresOf(graph: NodeGraph, value: string): Promise<Scores | undefined> {
  const capped = await softcapOf(graph, value);
  const scaled = await constantFactor(graph, capped?.value ?? value);
  const node = inner(graph, scaled?.value ?? capped?.value ?? value);
  if (!isNode(node, "MatMul") || !node) return undefined;
  const queries = await factorOf(graph, node.inputs[0]);
  const keys = await factorOf(graph, node.inputs[1]);
  return {
    queries: queries.value,
    keys: keys.value,
    scale: (scaled?.factor ?? 1) * queries.factor * keys.factor,
    scales: [...queries.scales, ...keys.scales],
    softcap: capped?.cap ?? 0,
  };
}

/** cap · tanh(x / cap). */
async function softcapOf(
  graph: NodeGraph,
  value: string,
): Promise<{ readonly value: string; readonly cap: number } | undefined> {
  const product = inner(graph, value);
  if (!product || !isNode(product, "Mul")) return undefined;
  for (const side of product.inputs) {
    const tanh = madeBy(graph, side, "Tanh");
    const other = tanh && otherInput(product, side);
    const quotient = tanh && madeBy(graph, tanh.inputs[0], "Div");
    const cap = await scalar(graph, other);
    if (!tanh || !quotient || cap === undefined || cap <= 0) continue;
    if ((await scalar(graph, quotient.inputs[1])) !== cap) continue;
    const isInner = inner(graph, side) && inner(graph, tanh.inputs[0]);
    return isInner ? { value: quotient.inputs[0], cap } : undefined;
  }
  return undefined;
}

interface Factored {
  readonly value: string;
  readonly factor: number;
}

/** factor · value, with a constant factor. */
async function constantFactor(graph: NodeGraph, value: string): Promise<Factored | undefined> {
  const node = inner(graph, value);
  if (!node || !isNode(node, "Mul", "Div")) return undefined;
  const right = await scalar(graph, node.inputs[1]);
  if (right !== undefined) {
    return { value: node.inputs[0], factor: isNode(node, "Mul") ? right : 1 / right };
  }
  const left = isNode(node, "Mul") ? await scalar(graph, node.inputs[0]) : undefined;
  return left === undefined ? undefined : { value: node.inputs[1], factor: left };
}

/** A factor of queries or keys: constant, or computed from shapes. */
async function factorOf(
  graph: NodeGraph,
  value: string,
): Promise<Factored & { readonly scales: readonly string[] }> {
  const found = await constantFactor(graph, value);
  if (found) return { ...found, scales: [] };
  const product = inner(graph, value);
  for (const side of product && isNode(product, "Mul") ? product.inputs : []) {
    const other = product && otherInput(product, side);
    if (other && (await isNumberOfShape(graph, side)))
      return { value: other, factor: 1, scales: [side] };
  }
  return { value, factor: 1, scales: [] };
}

/** True for a value of one element that follows from shapes alone. */
async function isNumberOfShape(graph: NodeGraph, value: string): Promise<boolean> {
  if (graph.isConstant(value)) return (await scalar(graph, value)) !== undefined;
  const node = graph.producer(value);
  if (!node) return false;
  if (isNode(node, "Sqrt", "Cast", "Reciprocal")) return isNumberOfShape(graph, node.inputs[0]);
  if (isNode(node, "Div", "Mul", "Pow")) {
    const sides = await Promise.all(node.inputs.map((input) => isNumberOfShape(graph, input)));
    return sides.every(Boolean);
  }
  if (!madeBy(graph, node.inputs[0], "Shape")) return false;
  if (isNode(node, "Gather")) return (await scalar(graph, node.inputs[1])) !== undefined;
  if (!isNode(node, "Slice")) return false;
  const [start, end] = [
    await integers(graph, node.inputs[1]),
    await integers(graph, node.inputs[2]),
  ];
  return start?.[0] === -1 && end !== undefined && end[0] >= 2 ** 31 - 1;
}
