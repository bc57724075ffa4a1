/** Trilu, CumSum, NonZero, TopK: operators that look at a whole axis, in JavaScript. */
import {
  contentsOf as numbersOf,
  type Operator,
  type OperatorNode,
} from "../../session/operator.ts";
import { axisOf, intAttribute, intsAttribute, required } from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";

export const trilu: Operator = {
  inPlace: [0],
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    if (shape.length < 2) throw new RangeError(`[${shape.join(", ")}] is no matrix`);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { data, shape } = required(inputs, 0);
    const result = required(outputs, 0).data;
    const isUpper = intAttribute(node, "upper", 1) !== 0;
    const k = inputs[1]?.data[0] ?? 0;
    const rows = shape.at(-2) ?? 0;
    const columns = shape.at(-1) ?? 0;
    for (let i = 0; i < data.length; i++) {
      const column = i % columns;
      const row = Math.floor(i / columns) % rows;
      const isKept = isUpper ? column - row >= k : column - row <= k;
      result[i] = isKept ? data[i] : 0;
    }
  },
};

export const cumulativeSum: Operator = {
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { data, shape } = required(inputs, 0);
    const result = required(outputs, 0).data;
    const axis = axisOf(required(inputs, 1).data[0], shape.length);
    const { outer, size, inner } = aroundAxis(shape, axis);
    const isExclusive = intAttribute(node, "exclusive", 0) !== 0;
    const isReverse = intAttribute(node, "reverse", 0) !== 0;
    for (let row = 0; row < outer * inner; row++) {
      const start = Math.floor(row / inner) * size * inner + (row % inner);
      let sum = 0;
      for (let i = 0; i < size; i++) {
        const at = start + (isReverse ? size - 1 - i : i) * inner;
        const next = sum + data[at];
        result[at] = isExclusive ? sum : next;
        sum = next;
      }
    }
  },
};

export const nonZero: Operator = {
  infer(_, inputs) {
    const { shape } = required(inputs, 0);
    let count = 0;
    for (const x of numbersOf(inputs, 0).data) if (x !== 0) count++;
    // A scalar counts as a vector of one element, as in ONNX Runtime.
    return [{ dtype: "int64", shape: [Math.max(shape.length, 1), count] }];
  },
  compute(_, inputs, outputs) {
    const { data, shape } = required(inputs, 0);
    const output = required(outputs, 0);
    const count = output.shape[1];
    const sizes = shape.length === 0 ? [1] : shape;
    let found = 0;
    for (let i = 0; i < data.length; i++) {
      if (data[i] === 0) continue;
      let rest = i;
      for (let axis = sizes.length - 1; axis >= 0; axis--) {
        output.data[axis * count + found] = rest % sizes[axis];
        rest = Math.floor(rest / sizes[axis]);
      }
      found++;
    }
  },
};

/** How many: an input since opset 10. */
function topCount(node: OperatorNode, inputs: Parameters<Operator["infer"]>[1]): number {
  return (
    intsAttribute(node, "k")?.[0] ??
    (inputs[1] ? numbersOf(inputs, 1).data[0] : intAttribute(node, "k", 1))
  );
}

/** Ascending, NaN behind everything. */
function ascending(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : Number(a > b);
}

export const topK: Operator = {
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const axis = axisOf(intAttribute(node, "axis", -1), shape.length);
    const k = topCount(node, inputs);
    if (k > shape[axis]) throw new RangeError(`${k} of ${shape[axis]} elements`);
    const result = shape.map((size, at) => (at === axis ? k : size));
    return [
      { dtype, shape: result },
      { dtype: "int64", shape: result },
    ];
  },
  compute(node, inputs, outputs) {
    const { data, shape } = required(inputs, 0);
    const axis = axisOf(intAttribute(node, "axis", -1), shape.length);
    const { outer, size, inner } = aroundAxis(shape, axis);
    const k = (outputs[0] ?? outputs[1])?.shape[axis] ?? 0;
    const sign = intAttribute(node, "largest", 1) !== 0 ? -1 : 1;
    for (let row = 0; row < outer * inner; row++) {
      const column = row % inner;
      const start = Math.floor(row / inner) * size * inner + column;
      const order = Array.from({ length: size }, (_, i) => i);
      const at = (i: number) => data[start + i * inner];
      order.sort((a, b) => sign * ascending(at(a), at(b)) || a - b);
      for (let i = 0; i < k; i++) {
        const to = (Math.floor(row / inner) * k + i) * inner + column;
        if (outputs[0]) outputs[0].data[to] = at(order[i]);
        if (outputs[1]) outputs[1].data[to] = order[i];
      }
    }
  },
};
