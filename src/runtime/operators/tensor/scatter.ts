/** ScatterND and ScatterElements: updates written at indices into a copy of the data. */
import { contiguousStrides } from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { product, required } from "./attributes.ts";
import { axisIn, indexOf } from "./gather.ts";

type Combine = (old: number, value: number) => number;

/** How an update meets what is there. */
function combination(node: OperatorNode): Combine {
  const reduction = node.attributes.get("reduction");
  switch (reduction?.type === "string" ? reduction.value : "none") {
    case "add":
      return (old, value) => old + value;
    case "mul":
      return (old, value) => old * value;
    case "max":
      return Math.max;
    case "min":
      return Math.min;
    default:
      return (_, value) => value;
  }
}

export const scatterND: Operator = {
  inPlace: [0],
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { shape } = required(inputs, 0);
    const ids = required(inputs, 1);
    const updates = required(inputs, 2).data;
    const output = required(outputs, 0);
    output.data.set(required(inputs, 0).data);
    const combine = combination(node);
    const depth = ids.shape.at(-1) ?? 0;
    const strides = contiguousStrides(shape);
    const inner = product(shape.slice(depth));
    const rows = product(ids.shape.slice(0, -1));
    for (let row = 0; row < rows; row++) {
      let to = 0;
      for (let k = 0; k < depth; k++) {
        to += strides[k] * indexOf(node, ids.data[row * depth + k], shape[k]);
      }
      for (let i = 0; i < inner; i++) {
        output.data[to + i] = combine(output.data[to + i], updates[row * inner + i]);
      }
    }
  },
};

export const scatterElements: Operator = {
  inPlace: [0],
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { shape } = required(inputs, 0);
    const ids = required(inputs, 1);
    const updates = required(inputs, 2).data;
    const output = required(outputs, 0);
    output.data.set(required(inputs, 0).data);
    const combine = combination(node);
    const axis = axisIn(node, shape);
    const strides = contiguousStrides(shape);
    const index = ids.shape.map(() => 0);
    for (let at = 0; at < ids.data.length; at++) {
      let to = 0;
      for (let k = 0; k < index.length; k++) {
        to += strides[k] * (k === axis ? indexOf(node, ids.data[at], shape[axis]) : index[k]);
      }
      output.data[to] = combine(output.data[to], updates[at]);
      for (let k = index.length - 1; k >= 0; k--) {
        if (++index[k] < ids.shape[k]) break;
        index[k] = 0;
      }
    }
  },
};
