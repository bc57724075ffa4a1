/** Pad: constant, reflect, edge and wrap; negative pads crop. Constant padding runs on kernels. */
import { contiguousStrides } from "../../../../native/index.ts";
import type { InferInput, Operator, OperatorNode } from "../../session/operator.ts";
import {
  axisOf,
  floatAttribute,
  intsAttribute,
  intsOf,
  required,
  textAttribute,
} from "./attributes.ts";
import { type Copy, copyOperator, type ReadNumbers, zeroInput } from "./copies.ts";

/** Elements before and after each axis. */
function padsOf(node: OperatorNode, rank: number, read: ReadNumbers): readonly [number, number][] {
  const pads = intsAttribute(node, "pads") ?? intsAttribute(node, "paddings") ?? read(1) ?? [];
  const axes =
    read(3)?.map((axis) => axisOf(axis, rank)) ?? Array.from({ length: rank }, (_, i) => i);
  const result = Array.from({ length: rank }, (): [number, number] => [0, 0]);
  axes.forEach((axis, at) => {
    result[axis] = [pads[at] ?? 0, pads[at + axes.length] ?? 0];
  });
  return result;
}

const paddedShape = (shape: readonly number[], pads: readonly [number, number][]) =>
  shape.map((size, axis) => Math.max(0, size + pads[axis][0] + pads[axis][1]));

const reader =
  (inputs: readonly (InferInput | undefined)[]): ReadNumbers =>
  (index) =>
    intsOf(inputs, index);

const constantPad = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape: paddedShape(shape, padsOf(node, shape.length, reader(inputs))) }];
  },
  count: () => 2,
  numbers: [1, 3],
  usesZero: true,
  copies(node, inputs, outputs, read): readonly Copy[] {
    const { shape } = required(inputs, 0);
    const whole = required(outputs, 0).shape;
    const pads = padsOf(node, shape.length, read);
    const from = contiguousStrides(shape);
    const to = contiguousStrides(whole);
    const kept = shape.map((size, axis) => {
      const [before, after] = pads[axis];
      return Math.max(0, size + Math.min(before, 0) + Math.min(after, 0));
    });
    const offset = (strides: readonly number[], sign: number) =>
      strides.reduce((sum, stride, axis) => sum + stride * Math.max(0, sign * pads[axis][0]), 0);
    return [
      {
        input: inputs[2] ? 2 : zeroInput,
        output: 0,
        shape: whole,
        from: { strides: whole.map(() => 0) },
      },
      {
        input: 0,
        output: 0,
        shape: kept,
        from: { strides: from, offset: offset(from, -1) },
        to: { strides: to, offset: offset(to, 1) },
      },
    ];
  },
});

/** Where an element outside the axis comes from. */
function reflected(mode: string, at: number, size: number): number {
  if (mode === "edge") return Math.min(Math.max(at, 0), size - 1);
  if (mode === "wrap") return ((at % size) + size) % size;
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const inside = ((at % period) + period) % period;
  return inside < size ? inside : period - inside;
}

const modeOf = (node: OperatorNode): string => textAttribute(node, "mode", "constant");

export const pad: Operator = {
  ...constantPad,
  compute(node, inputs, outputs) {
    const mode = modeOf(node);
    const input = required(inputs, 0);
    const output = required(outputs, 0);
    if (mode === "constant") {
      constantPad.compute?.(node, inputs, outputs);
      const filler = floatAttribute(node, "value", 0);
      if (filler === 0) return;
    }
    const read: ReadNumbers = (index) => inputs[index] && Array.from(inputs[index].data);
    const { shape } = input;
    const pads = padsOf(node, shape.length, read);
    const strides = contiguousStrides(shape);
    const index = output.shape.map(() => 0);
    for (let at = 0; at < output.data.length; at++) {
      let position = 0;
      let isInside = true;
      for (let axis = 0; axis < shape.length; axis++) {
        const place = index[axis] - pads[axis][0];
        isInside &&= place >= 0 && place < shape[axis];
        position +=
          strides[axis] * (mode === "constant" ? place : reflected(mode, place, shape[axis]));
      }
      const isFilled = mode === "constant" && !isInside;
      output.data[at] = isFilled ? floatAttribute(node, "value", 0) : input.data[position];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        if (++index[axis] < output.shape[axis]) break;
        index[axis] = 0;
      }
    }
  },
  compile: (node, context) =>
    modeOf(node) === "constant" && floatAttribute(node, "value", 0) === 0
      ? constantPad.compile?.(node, context)
      : undefined,
};
