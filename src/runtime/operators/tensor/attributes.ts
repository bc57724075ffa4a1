/**
 * What operators ask of a node: attributes with their defaults, axes counted from the end, integers of an input.
 * Invariant: a wrong value is a RangeError with a short text, which the session turns into an error that names the node.
 */
import {
  type InferInput,
  contentsOf as numbersOf,
  type OperatorNode,
} from "../../session/operator.ts";

type Attributed = Pick<OperatorNode, "attributes">;

/** The integer, or `fallback` when the node does not set it. */
export function intAttribute(node: Attributed, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "int" ? attribute.value : fallback;
}

/** The float, or `fallback` when the node does not set it. */
export function floatAttribute(node: Attributed, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "float" ? attribute.value : fallback;
}

/** The list of integers, or undefined when the node does not set it. */
export function intsAttribute(node: Attributed, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.type === "ints" ? attribute.value : undefined;
}

/** The text, or `fallback` when the node does not set it. */
export function textAttribute(node: Attributed, name: string, fallback: string): string {
  const attribute = node.attributes.get(name);
  return attribute?.type === "string" ? attribute.value : fallback;
}

/** Axis −rank … rank − 1 as 0 … rank − 1. */
export function axisOf(axis: number, rank: number): number {
  const counted = axis < 0 ? axis + rank : axis;
  if (counted < 0 || counted >= Math.max(rank, 1)) {
    throw new RangeError(`axis ${axis} is outside a tensor of ${rank} dimensions`);
  }
  return counted;
}

/** The integers of an input that `infer` cannot do without; undefined when the input is left out. */
export function intsOf(
  inputs: readonly (InferInput | undefined)[],
  index: number,
): number[] | undefined {
  return inputs[index] ? Array.from(numbersOf(inputs, index).data) : undefined;
}

/** Axes from an attribute up to some opset, from an input after it. */
export function axesOf(
  node: OperatorNode,
  inputs: readonly (InferInput | undefined)[],
  index: number,
): readonly number[] | undefined {
  return intsAttribute(node, "axes") ?? intsOf(inputs, index);
}

/** The type of an input that the operator demands. */
export function required<T>(inputs: readonly (T | undefined)[], index: number): T {
  const input = inputs[index];
  if (!input) throw new RangeError(`input ${index} is missing`);
  return input;
}

/** Product of sizes; 1 for none. */
export const product = (sizes: readonly number[]): number =>
  sizes.reduce((total, size) => total * size, 1);
