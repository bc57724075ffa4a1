/**
 * Operators that make tensors from little: Constant, ConstantOfShape, Range, OneHot, EyeLike.
 * Invariant: a tensor of an attribute comes as an input (see `session/node-graph.ts`).
 */
import { dtypeFromCode } from "../../../core/tensor.ts";
import {
  contentsOf as numbersOf,
  type Operator,
  type OperatorNode,
} from "../../session/operator.ts";
import { isStored } from "../../session/storage.ts";
import { intAttribute, intsOf, product, required } from "./attributes.ts";

/** The forms of Constant that are no tensors. */
function literal(node: OperatorNode) {
  const forms = {
    value_float: "float32",
    value_floats: "float32",
    value_int: "int64",
    value_ints: "int64",
  } as const;
  for (const [name, dtype] of Object.entries(forms)) {
    const attribute = node.attributes.get(name);
    if (attribute?.type === "float" || attribute?.type === "int") {
      return { dtype, shape: [], numbers: [attribute.value] };
    }
    if (attribute?.type === "floats" || attribute?.type === "ints") {
      return { dtype, shape: [attribute.value.length], numbers: attribute.value };
    }
  }
  return undefined;
}

export const constant: Operator = {
  refuses: (node) => {
    const isTensor = node.attributes.get("value")?.type === "tensor";
    return isTensor || literal(node) ? undefined : "is a constant of strings or sparse values";
  },
  infer(node) {
    const found = literal(node);
    return found ? [{ dtype: found.dtype, shape: found.shape }] : [];
  },
  compute: (node, _, outputs) => outputs[0]?.data.set(literal(node)?.numbers ?? []),
};

export const constantOfShape: Operator = {
  infer: (_, inputs) => [{ dtype: inputs[1]?.dtype ?? "float32", shape: intsOf(inputs, 0) ?? [] }],
  compute: (_, inputs, outputs) => {
    outputs[0]?.data.fill(inputs[1]?.data[0] ?? 0);
  },
};

export const range: Operator = {
  infer(_, inputs) {
    const [start, limit, delta] = [0, 1, 2].map((index) => numbersOf(inputs, index).data[0]);
    if (delta === 0) throw new RangeError("a step of 0 leads nowhere");
    const count = Math.max(0, Math.ceil((limit - start) / delta));
    return [{ dtype: required(inputs, 0).dtype, shape: [count] }];
  },
  compute(_, inputs, outputs) {
    const start = required(inputs, 0).data[0];
    const delta = required(inputs, 2).data[0];
    const { data } = required(outputs, 0);
    for (let i = 0; i < data.length; i++) data[i] = start + i * delta;
  },
};

/** Axis of the new dimension, in the output. */
function oneHotAxis(node: OperatorNode, rank: number): number {
  const axis = intAttribute(node, "axis", -1);
  return axis < 0 ? axis + rank + 1 : axis;
}

export const oneHot: Operator = {
  infer(node, inputs) {
    const { shape } = required(inputs, 0);
    const depth = Math.trunc(numbersOf(inputs, 1).data[0]);
    const { dtype } = required(inputs, 2);
    return [{ dtype, shape: shape.toSpliced(oneHotAxis(node, shape.length), 0, depth) }];
  },
  compute(node, inputs, outputs) {
    const { shape, data: ids } = required(inputs, 0);
    const [off, on] = required(inputs, 2).data;
    const output = required(outputs, 0);
    const axis = oneHotAxis(node, shape.length);
    const depth = output.shape[axis];
    const inner = product(shape.slice(axis));
    output.data.fill(off);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] < 0 ? ids[i] + depth : ids[i];
      if (id < 0 || id >= depth) continue;
      output.data[(Math.floor(i / inner) * depth + id) * inner + (i % inner)] = on;
    }
  },
};

export const eyeLike: Operator = {
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    if (shape.length !== 2) throw new RangeError(`[${shape.join(", ")}] is no matrix`);
    const wanted = dtypeFromCode(intAttribute(node, "dtype", 0));
    return [{ dtype: isStored(wanted) ? wanted : dtype, shape }];
  },
  compute(node, _, outputs) {
    const { data, shape } = required(outputs, 0);
    const shift = intAttribute(node, "k", 0);
    data.fill(0);
    for (let row = 0; row < shape[0]; row++) {
      const column = row + shift;
      if (column >= 0 && column < shape[1]) data[row * shape[1] + column] = 1;
    }
  },
};
