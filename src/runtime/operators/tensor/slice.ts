/** Slice: a strided part of each axis; attributes up to opset 9, inputs after it. */
import { contiguousStrides } from "../../../../native/index.ts";
import type { InferInput, OperatorNode } from "../../session/operator.ts";
import { axisOf, intsAttribute, intsOf, required } from "./attributes.ts";
import { copyOperator, type ReadNumbers } from "./copies.ts";

interface Cut {
  readonly start: number;
  readonly step: number;
  readonly size: number;
}

/** Start, step and size of every axis, clamped as numpy does. */
function cutsOf(shape: readonly number[], node: OperatorNode, read: ReadNumbers): readonly Cut[] {
  const starts = intsAttribute(node, "starts") ?? read(1) ?? [];
  const ends = intsAttribute(node, "ends") ?? read(2) ?? [];
  const axes = intsAttribute(node, "axes") ?? read(3) ?? starts.map((_, axis) => axis);
  const steps = read(4) ?? starts.map(() => 1);
  const cuts: Cut[] = shape.map((size) => ({ start: 0, step: 1, size }));
  axes.forEach((given, at) => {
    const axis = axisOf(given, shape.length);
    const step = steps[at];
    if (step === 0) throw new RangeError("a step of 0 leads nowhere");
    const size = shape[axis];
    const clamp = (value: number, low: number, high: number) =>
      Math.min(Math.max(value < 0 ? value + size : value, low), high);
    const start = step > 0 ? clamp(starts[at], 0, size) : clamp(starts[at], 0, size - 1);
    const end = step > 0 ? clamp(ends[at], 0, size) : clamp(ends[at], -1, size - 1);
    cuts[axis] = { start, step, size: Math.max(0, Math.ceil((end - start) / step)) };
  });
  return cuts;
}

const reader =
  (inputs: readonly (InferInput | undefined)[]): ReadNumbers =>
  (index) =>
    intsOf(inputs, index);

export const slice = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape: cutsOf(shape, node, reader(inputs)).map(({ size }) => size) }];
  },
  count: () => 1,
  numbers: [1, 2, 3, 4],
  copies(node, inputs, _, read) {
    const input = required(inputs, 0).shape;
    const cuts = cutsOf(input, node, read);
    const own = contiguousStrides(input);
    const from = {
      strides: own.map((stride, axis) => stride * cuts[axis].step),
      offset: own.reduce((sum, stride, axis) => sum + stride * cuts[axis].start, 0),
    };
    return [{ input: 0, output: 0, shape: cuts.map(({ size }) => size), from }];
  },
});
