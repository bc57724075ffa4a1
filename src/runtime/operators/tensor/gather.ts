/**
 * Gather, GatherElements, GatherND: elements by index. Gather along an axis runs on a kernel, which reports indices
 * outside the axis.
 */
import {
  contiguousStrides,
  convertKernels,
  gatherKernel,
  planConvert,
  planGather,
} from "../../../../native/index.ts";
import { BitloomError } from "../../../core/errors.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { elementBytes } from "../../session/storage.ts";
import { axisOf, intAttribute, product, required } from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";

/** The axis that the node names, 0 by default. */
export const axisIn = (node: OperatorNode, shape: readonly number[]): number =>
  axisOf(intAttribute(node, "axis", 0), shape.length);

function outside(node: OperatorNode, size: number): BitloomError {
  return new BitloomError(
    "bad-data",
    `Node "${node.name}" (${node.opType}) got an index outside −${size} … ${size - 1}. Check the ids in the feeds.`,
    { input: node.name, expected: `−${size} … ${size - 1}` },
  );
}

/** A valid index, counted from the front. */
export function indexOf(node: OperatorNode, index: number, size: number): number {
  const counted = index < 0 ? index + size : index;
  if (!(counted >= 0 && counted < size)) throw outside(node, size);
  return counted;
}

export const gather: Operator = {
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const axis = axisIn(node, shape);
    const ids = required(inputs, 1).shape;
    return [{ dtype, shape: shape.toSpliced(axis, 1, ...ids) }];
  },
  compute(node, inputs, outputs) {
    const { shape, data } = required(inputs, 0);
    const ids = required(inputs, 1).data;
    const result = required(outputs, 0).data;
    const { outer, size, inner } = aroundAxis(shape, axisIn(node, shape));
    let to = 0;
    for (let row = 0; row < outer; row++) {
      for (let i = 0; i < ids.length; i++) {
        const from = (row * size + indexOf(node, ids[i], size)) * inner;
        result.set(data.subarray(from, from + inner), to);
        to += inner;
      }
    }
  },
  compile(node, context) {
    const task = context.task(gatherKernel);
    const widen = context.task(convertKernels["i32-f64"]);
    const { pointer: status, bytes: flag } = context.reserve(4);
    flag.fill(0);
    let size = 0;
    let isNarrow = false;
    return {
      fits: ([, ids]) => ids?.dtype === "int64" || ids?.dtype === "int32",
      workspaceBytes: ([, ids]) => (ids?.dtype === "int32" ? 8 * product(ids.shape) : 0),
      bind(inputs, outputs, workspace) {
        const table = required(inputs, 0);
        const ids = required(inputs, 1);
        const output = required(outputs, 0);
        const axis = axisIn(node, table.shape);
        const bytes = elementBytes(table.dtype);
        size = table.shape[axis];
        isNarrow = ids.dtype === "int32";
        if (isNarrow) {
          const { items, values } = planConvert(ids.elements);
          widen.set({ ...values, input: ids.pointer, output: workspace }, items, ids.elements);
        }
        const { items, values } = planGather(table.shape, axis, ids.elements, bytes);
        const pointers = {
          table: table.pointer,
          ids: isNarrow ? workspace : ids.pointer,
          output: output.pointer,
          status,
        };
        task.set({ ...values, ...pointers }, items, output.elements);
      },
      run() {
        if (isNarrow) widen.run();
        task.run();
        const memory = context.memory();
        if (memory[status] === 0) return;
        memory[status] = 0;
        throw outside(node, size);
      },
    };
  },
};

/** Indices [..] of single elements: as many axes as the data, and inside it along all but one. */
export function checkElementIds(ids: readonly number[], shape: readonly number[], axis: number) {
  const isInside = ids.every((size, at) => at === axis || size <= shape[at]);
  if (ids.length === shape.length && isInside) return;
  throw new RangeError(`indices [${ids.join(", ")}] leave the data [${shape.join(", ")}]`);
}

export const gatherElements: Operator = {
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const ids = required(inputs, 1).shape;
    checkElementIds(ids, shape, axisIn(node, shape));
    return [{ dtype, shape: ids }];
  },
  compute(node, inputs, outputs) {
    const { shape, data } = required(inputs, 0);
    const ids = required(inputs, 1);
    const result = required(outputs, 0).data;
    const axis = axisIn(node, shape);
    const strides = contiguousStrides(shape);
    const index = ids.shape.map(() => 0);
    for (let at = 0; at < ids.data.length; at++) {
      let from = 0;
      for (let k = 0; k < index.length; k++) {
        from += strides[k] * (k === axis ? indexOf(node, ids.data[at], shape[axis]) : index[k]);
      }
      result[at] = data[from];
      for (let k = index.length - 1; k >= 0; k--) {
        if (++index[k] < ids.shape[k]) break;
        index[k] = 0;
      }
    }
  },
};

export const gatherND: Operator = {
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const ids = required(inputs, 1).shape;
    const depth = ids.at(-1) ?? 0;
    const batch = intAttribute(node, "batch_dims", 0);
    if (batch + depth > shape.length) {
      throw new RangeError(`indices of ${depth} numbers into ${shape.length - batch} dimensions`);
    }
    if (shape.slice(0, batch).some((size, axis) => size !== ids[axis])) {
      throw new RangeError(`indices [${ids.join(", ")}] and data [${shape.join(", ")}] in batches`);
    }
    return [{ dtype, shape: [...ids.slice(0, -1), ...shape.slice(batch + depth)] }];
  },
  compute(node, inputs, outputs) {
    const { shape, data } = required(inputs, 0);
    const ids = required(inputs, 1);
    const result = required(outputs, 0).data;
    const batch = intAttribute(node, "batch_dims", 0);
    const depth = ids.shape.at(-1) ?? 0;
    const strides = contiguousStrides(shape);
    const inner = product(shape.slice(batch + depth));
    const rows = product(ids.shape.slice(0, -1));
    const batches = product(shape.slice(0, batch));
    const perBatch = rows / Math.max(batches, 1);
    const batchSize = product(shape.slice(batch));
    for (let row = 0; row < rows; row++) {
      let from = Math.floor(row / perBatch) * batchSize;
      for (let k = 0; k < depth; k++) {
        const axis = batch + k;
        from += strides[axis] * indexOf(node, ids.data[row * depth + k], shape[axis]);
      }
      result.set(data.subarray(from, from + inner), row * inner);
    }
  },
};
