/**
 * The slow forms of element-wise operators: any number of operands, numpy's broadcasting, any stored element types.
 * Invariant: the output's array does the final conversion (wrapping integers, rounding to float32).
 */
import { broadcastShape, broadcastStrides } from "../../../../native/index.ts";
import { elementCount } from "../../../core/tensor.ts";
import type { TensorType } from "../../session/operator.ts";
import type { HostTensor } from "../../session/storage.ts";

/** The common shape; a RangeError when there is none. */
export function commonShape(inputs: readonly (TensorType | undefined)[]): number[] {
  const shapes = inputs.flatMap((input) => (input ? [input.shape] : []));
  const shape = broadcastShape(shapes);
  if (shape) return shape;
  const texts = shapes.map((one) => `[${one.join(", ")}]`).join(" and ");
  throw new RangeError(`the shapes ${texts} do not broadcast`);
}

/** Calls `visit` with the positions of the operands for every element of `shape`, in order. */
export function forBroadcast(
  shape: readonly number[],
  operands: readonly (readonly number[])[],
  visit: (at: number, positions: readonly number[]) => void,
): void {
  const strides = operands.map((operand) => broadcastStrides(operand, shape));
  const positions = operands.map(() => 0);
  const index = shape.map(() => 0);
  const count = elementCount(shape);
  for (let at = 0; at < count; at++) {
    visit(at, positions);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      for (let k = 0; k < positions.length; k++) positions[k] += strides[k][axis];
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
      for (let k = 0; k < positions.length; k++) positions[k] -= shape[axis] * strides[k][axis];
    }
  }
}

/** output = f(a, b) with broadcasting. */
export function mapPairs(
  a: HostTensor,
  b: HostTensor,
  output: HostTensor,
  f: (a: number, b: number) => number,
): void {
  const { data, shape } = output;
  if (b.data.length === 1 && a.data.length === data.length) {
    const right = b.data[0];
    for (let i = 0; i < data.length; i++) data[i] = f(a.data[i], right);
    return;
  }
  forBroadcast(shape, [a.shape, b.shape], (at, positions) => {
    data[at] = f(a.data[positions[0]], b.data[positions[1]]);
  });
}

/** Types whose division gives whole numbers. */
export const isInteger = (dtype: string): boolean => /^u?int/.test(dtype);
