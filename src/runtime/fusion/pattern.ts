/**
 * Questions that fusions ask of a graph. Standard operators only: a node of another domain never matches.
 * Invariant: what is answered holds for every feed.
 */
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { floatTypeOf } from "./pattern-types.ts";

/** True for nodes of ai.onnx with one of the names. */
export const isNode = (node: OperatorNode | undefined, ...names: readonly string[]): boolean =>
  node !== undefined && node.domain === "" && names.includes(node.opType);

/** The node that makes a value, if it has one of the names. */
export function madeBy(
  graph: NodeGraph,
  value: string | undefined,
  ...names: readonly string[]
): OperatorNode | undefined {
  const node = value ? graph.producer(value) : undefined;
  return isNode(node, ...names) ? node : undefined;
}

/** The only node that reads a value that is no output. */
export function onlyUse(
  graph: NodeGraph,
  value: string | undefined,
  ...names: readonly string[]
): OperatorNode | undefined {
  if (!value || graph.isOutput(value)) return undefined;
  const uses = graph.uses(value);
  return uses.length === 1 && isNode(uses[0], ...names) ? uses[0] : undefined;
}

/** The other operand of a node with two. */
export function otherInput(node: OperatorNode, value: string): string | undefined {
  if (node.inputs.length !== 2 || !node.inputs.includes(value)) return undefined;
  return node.inputs[node.inputs[0] === value ? 1 : 0];
}

/** The number of a constant with one element. */
export async function scalar(
  graph: NodeGraph,
  value: string | undefined,
): Promise<number | undefined> {
  if (!value || !graph.isConstant(value)) return undefined;
  const source = graph.constants.source(value);
  if (source?.shape.some((size) => size !== 1)) return undefined;
  const constant = await graph.constant(value);
  return constant?.data.length === 1 ? constant.data[0] : undefined;
}

/** True for a constant scalar near `wanted`, as close as its element type can be. */
export async function isScalar(
  graph: NodeGraph,
  value: string | undefined,
  wanted: number,
): Promise<boolean> {
  const found = await scalar(graph, value);
  if (found === undefined || !value) return false;
  const constant = await graph.constant(value);
  const limit = { float16: 1e-3, bfloat16: 8e-3 }[constant?.dtype as string] ?? 1e-6;
  return Math.abs(found - wanted) <= limit * Math.abs(wanted);
}

/** The integers of a constant. */
export async function integers(
  graph: NodeGraph,
  value: string | undefined,
): Promise<readonly number[] | undefined> {
  if (!value || !graph.isConstant(value)) return undefined;
  const constant = await graph.constant(value);
  return constant && constant.data.length <= 8 ? Array.from(constant.data) : undefined;
}

/** The other operand of a two-sided node, where one side is a scalar constant near `wanted`. */
export async function besideScalar(
  graph: NodeGraph,
  node: OperatorNode | undefined,
  wanted: number,
): Promise<string | undefined> {
  if (node?.inputs.length !== 2) return undefined;
  for (const [at, value] of node.inputs.entries()) {
    if (await isScalar(graph, value, wanted)) return node.inputs[1 - at];
  }
  return undefined;
}

export function intOf(node: OperatorNode, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "int" ? attribute.value : fallback;
}

export function intsOf(node: OperatorNode, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.type === "ints" ? attribute.value : undefined;
}

/** True for a mean over the last axis that keeps it with size 1. */
export async function isMeanOfLastAxis(graph: NodeGraph, node: OperatorNode): Promise<boolean> {
  if (!isNode(node, "ReduceMean") || intOf(node, "keepdims", 1) !== 1) return false;
  const axes = intsOf(node, "axes") ?? (await integers(graph, node.inputs[1]));
  return axes?.length === 1 && axes[0] === -1;
}

/** The value whose square this is. */
export async function squareOf(graph: NodeGraph, value: string): Promise<string | undefined> {
  const node = graph.producer(value);
  if (isNode(node, "Mul")) return node?.inputs[0] === node?.inputs[1] ? node?.inputs[0] : undefined;
  if (!node || !isNode(node, "Pow")) return undefined;
  return (await isScalar(graph, node.inputs[1], 2)) ? node.inputs[0] : undefined;
}

/** The value behind casts between float types: what a node computes of it has more digits, never fewer. */
export async function behindCasts(graph: NodeGraph, value: string): Promise<string> {
  let found = value;
  for (;;) {
    const cast = madeBy(graph, found, "Cast");
    const from = cast?.inputs[0];
    if (!cast || !from || !floatTypes.includes(intOf(cast, "to", 0))) return found;
    if ((await floatTypeOf(graph, from)) === undefined) return found;
    found = from;
  }
}

/** ONNX numbers of float32, float16, bfloat16. */
const floatTypes = [1, 10, 16];

/** The only user, through casts between float types that nobody else reads. */
export function onlyUseBehindCasts(
  graph: NodeGraph,
  value: string,
  ...names: readonly string[]
): { readonly node: OperatorNode; readonly value: string } | undefined {
  let found = value;
  for (;;) {
    const node = onlyUse(graph, found, ...names, "Cast");
    if (!node) return undefined;
    if (names.includes(node.opType)) return { node, value: found };
    if (!floatTypes.includes(intOf(node, "to", 0))) return undefined;
    found = node.outputs[0];
  }
}

/** The shape of a constant. */
export async function constantShape(
  graph: NodeGraph,
  value: string | undefined,
): Promise<readonly number[] | undefined> {
  if (!value || !graph.isConstant(value)) return undefined;
  return graph.constants.source(value)?.shape ?? (await graph.constant(value))?.shape;
}

/** True for a constant of one axis with several elements: scale or bias of a norm. */
export async function isRow(graph: NodeGraph, value: string | undefined): Promise<boolean> {
  const shape = await constantShape(graph, value);
  return shape?.length === 1 && shape[0] > 1;
}
