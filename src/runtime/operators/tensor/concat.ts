/** Concat and Split: parts of one axis side by side. */
import { contiguousStrides } from "../../../../native/index.ts";
import type { InferInput, OperatorNode, TensorType } from "../../session/operator.ts";
import { axisOf, intAttribute, intsAttribute, intsOf, required } from "./attributes.ts";
import { type Copy, copyOperator } from "./copies.ts";

/** Offsets of parts along an axis of `whole`, as walks. */
function partsOf(
  whole: readonly number[],
  axis: number,
  parts: readonly (TensorType | undefined)[],
  copyOf: (part: TensorType, index: number, strides: readonly number[], offset: number) => Copy,
): Copy[] {
  const strides = contiguousStrides(whole);
  let start = 0;
  return parts.flatMap((part, index) => {
    if (!part) return [];
    const offset = start * strides[axis];
    start += part.shape[axis];
    return [copyOf(part, index, strides, offset)];
  });
}

export const concat = copyOperator({
  infer(node, inputs) {
    const first = required(inputs, 0);
    const axis = axisOf(intAttribute(node, "axis", 1), first.shape.length);
    const shape = [...first.shape];
    shape[axis] = 0;
    for (const input of inputs) {
      if (!input) continue;
      const fits =
        input.shape.length === shape.length &&
        input.shape.every((size, at) => at === axis || size === shape[at]);
      if (!fits) {
        const got = input.shape.join(", ");
        throw new RangeError(`[${got}] cannot stand beside [${first.shape.join(", ")}]`);
      }
      shape[axis] += input.shape[axis];
    }
    return [{ dtype: first.dtype, shape }];
  },
  count: (node) => node.inputs.length,
  copies(node, inputs, outputs) {
    const { shape, room, pointer } = required(outputs, 0);
    const axis = axisOf(intAttribute(node, "axis", 1), shape.length);
    const whole = room === undefined ? shape : shape.with(-2, room);
    const parts = partsOf(whole, axis, inputs, (part, input, strides, offset) => ({
      input,
      output: 0,
      shape: part.shape,
      from: { strides: contiguousStrides(part.shape) },
      to: { strides, offset },
    }));
    const isInPlace = room !== undefined && inputs[0]?.pointer === pointer;
    return isInPlace ? parts.slice(1) : parts;
  },
  appends(node) {
    const axis = intAttribute(node, "axis", 1);
    return axis === 2 || axis === -2 ? [{ input: 0, output: 0 }] : [];
  },
});

/** Sizes along the axis: as given, or equal parts of which the last may be smaller. */
function splitSizes(
  node: OperatorNode,
  inputs: readonly (InferInput | undefined)[],
  size: number,
): readonly number[] {
  const given = intsAttribute(node, "split") ?? intsOf(inputs, 1);
  if (given) return given;
  const count = intAttribute(node, "num_outputs", node.outputs.length);
  const part = Math.ceil(size / count);
  return Array.from({ length: count }, (_, index) =>
    Math.max(0, Math.min(part, size - index * part)),
  );
}

export const split = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const axis = axisOf(intAttribute(node, "axis", 0), shape.length);
    const sizes = splitSizes(node, inputs, shape[axis]);
    if (sizes.reduce((sum, size) => sum + size, 0) !== shape[axis]) {
      throw new RangeError(`parts of ${sizes.join(", ")} do not make up ${shape[axis]}`);
    }
    return sizes.map((size) => ({ dtype, shape: shape.with(axis, size) }));
  },
  count: (node) => node.outputs.length,
  copies(node, inputs, outputs) {
    const { shape } = required(inputs, 0);
    const axis = axisOf(intAttribute(node, "axis", 0), shape.length);
    return partsOf(shape, axis, outputs, (part, output, strides, offset) => ({
      input: 0,
      output,
      shape: part.shape,
      from: { strides, offset },
      to: { strides: contiguousStrides(part.shape) },
    }));
  },
});
