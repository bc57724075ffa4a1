/**
 * MaxPool and AveragePool over one or two axes; GlobalMaxPool and GlobalAveragePool over any number.
 */
import {
  averagePool,
  type Kernel,
  maxPool,
  type PoolAttributes,
  planPool,
  planReduce,
  reduceKernels,
  windowAxes,
} from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";
import { intAttribute, intsAttribute } from "../tensor/attributes.ts";
import { forEachTap, whyNotWindow, windowOf } from "./window.ts";

type Kind = "max" | "average";

const attributesOf = (node: OperatorNode): PoolAttributes => ({
  ...windowOf(node),
  kernelShape: intsAttribute(node, "kernel_shape") ?? [],
  ceilMode: intAttribute(node, "ceil_mode", 0) !== 0,
  countIncludePad: intAttribute(node, "count_include_pad", 0) !== 0,
});

/** Fills the result and, for a maximum, the indices of what was taken (first of equals). */
function computePool(
  node: OperatorNode,
  kind: Kind,
  x: HostTensor,
  out: HostTensor | undefined,
  indices: HostTensor | undefined,
): void {
  const attributes = attributesOf(node);
  const [batch, channels, ...sizes] = x.shape;
  const axes = windowAxes(sizes, attributes);
  const [y, h] = axes;
  const image = y.size * h.size;
  const byColumns = intAttribute(node, "storage_order", 0) !== 0;
  // Rows and columns of a window that count: inside the image, or inside its padding.
  const counted = (axis: typeof y, at: number) => {
    const margin = attributes.countIncludePad ? [axis.padBegin, axis.padEnd] : [0, 0];
    let count = 0;
    for (let tap = 0; tap < axis.kernel; tap++) {
      const place = at * axis.stride - axis.padBegin + tap * axis.dilation;
      if (place >= -margin[0] && place < axis.size + margin[1]) count++;
    }
    return count;
  };
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let row = 0; row < y.out; row++) {
      for (let column = 0; column < h.out; column++) {
        let [sum, best, at] = [0, Number.NEGATIVE_INFINITY, -1];
        forEachTap(axes, row, column, (element) => {
          const value = x.data[plane * image + element];
          sum += value;
          if (at < 0 || value > best || Number.isNaN(value)) [best, at] = [value, element];
        });
        const to = (plane * y.out + row) * h.out + column;
        const taken = kind === "max" ? best : sum / (counted(y, row) * counted(h, column));
        if (out) out.data[to] = taken;
        if (!indices) continue;
        const inPlane = byColumns ? (at % h.size) * y.size + Math.floor(at / h.size) : at;
        indices.data[to] = plane * image + inPlane;
      }
    }
  }
}

function poolOperator(kind: Kind): Operator {
  return {
    refuses: whyNotWindow,
    infer(node, [x]) {
      if (!x || x.shape.length < 3 || x.shape.length > 4) {
        throw new RangeError(`a pool over [${x?.shape}]: one or two axes are expected`);
      }
      const { shape } = planPool(kind, x.shape, attributesOf(node));
      const indices = node.outputs[1] ? ({ dtype: "int64", shape } as const) : undefined;
      return [{ dtype: x.dtype, shape }, indices];
    },
    compute(node, [x], [out, indices]) {
      if (x) computePool(node, kind, x, out, indices);
    },
    compile(node, context) {
      if (node.outputs[1]) return undefined;
      const task = context.task((kind === "max" ? maxPool : averagePool) as unknown as Kernel);
      const attributes = attributesOf(node);
      const taps = attributes.kernelShape.reduce((count, size) => count * size, 1);
      return {
        fits: ([x]) => isFloat(x?.dtype),
        bind([x], [out]) {
          if (!x || !out) return;
          const { values, items } = planPool(kind, x.shape, attributes);
          task.set({ ...values, x: x.pointer, out: out.pointer }, items, out.elements * taps);
        },
        run: () => task.run(),
      };
    },
  };
}

export const maxPoolOperator = poolOperator("max");
export const averagePoolOperator = poolOperator("average");

/** [N, C, …] to [N, C, 1 …]. */
function globalPoolOperator(kind: Kind): Operator {
  const extent = (shape: readonly number[]) => ({
    outer: shape.slice(0, 2).reduce((size, next) => size * next, 1),
    reduced: shape.slice(2).reduce((size, next) => size * next, 1),
    inner: 1,
  });
  return {
    infer(_, [x]) {
      if (!x || x.shape.length < 2) throw new RangeError(`a global pool over [${x?.shape}]`);
      return [{ dtype: x.dtype, shape: x.shape.map((size, at) => (at < 2 ? size : 1)) }];
    },
    compute(_, [x], [out]) {
      if (!x || !out) return;
      const { reduced } = extent(x.shape);
      for (let row = 0; row < out.data.length; row++) {
        const values = x.data.subarray(row * reduced, (row + 1) * reduced);
        let result = kind === "max" ? Number.NEGATIVE_INFINITY : 0;
        for (const value of values)
          result = kind === "max" ? Math.max(result, value) : result + value;
        out.data[row] = kind === "max" ? result : result / reduced;
      }
    },
    compile(_, context) {
      const task = context.task(reduceKernels[kind === "max" ? "max" : "mean"]);
      return {
        fits: ([x]) => isFloat(x?.dtype),
        bind([x], [out]) {
          if (!x || !out) return;
          const { values, items } = planReduce(extent(x.shape));
          task.set({ ...values, input: x.pointer, output: out.pointer }, items, x.elements);
        },
        run: () => task.run(),
      };
    },
  };
}

export const globalMaxPoolOperator = globalPoolOperator("max");
export const globalAveragePoolOperator = globalPoolOperator("average");
