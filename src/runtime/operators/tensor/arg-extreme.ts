/** ArgMax and ArgMin: where the extreme of an axis is. */
import { type ArgumentName, argumentKernels, planArgument } from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { axisOf, intAttribute, required } from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";

const axisIn = (node: OperatorNode, shape: readonly number[]): number =>
  axisOf(intAttribute(node, "axis", 0), shape.length);
const selectsLast = (node: OperatorNode): boolean =>
  intAttribute(node, "select_last_index", 0) !== 0;

function argument(name: ArgumentName): Operator {
  const isBetter =
    name === "arg-max" ? (a: number, b: number) => a > b : (a: number, b: number) => a < b;
  return {
    infer(node, inputs) {
      const { shape } = required(inputs, 0);
      const axis = axisIn(node, shape);
      if (shape[axis] === 0) throw new RangeError(`axis ${axis} has no elements`);
      const keeps = intAttribute(node, "keepdims", 1) !== 0;
      const result = keeps
        ? shape.map((size, at) => (at === axis ? 1 : size))
        : shape.toSpliced(axis, 1);
      return [{ dtype: "int64", shape: result }];
    },
    compute(node, inputs, outputs) {
      const { data, shape } = required(inputs, 0);
      const result = required(outputs, 0).data;
      const { outer, size, inner } = aroundAxis(shape, axisIn(node, shape));
      const isLast = selectsLast(node);
      for (let row = 0; row < outer * inner; row++) {
        const start = Math.floor(row / inner) * size * inner + (row % inner);
        let best = 0;
        for (let i = 1; i < size; i++) {
          const x = data[start + i * inner];
          const y = data[start + best * inner];
          // NaN is passed over, as in the kernel; the operator's definition says nothing of it.
          const isFirst = Number.isNaN(y) && !Number.isNaN(x);
          if (isFirst || isBetter(x, y) || (isLast && x === y)) best = i;
        }
        result[row] = best;
      }
    },
    compile(node, context) {
      const task = context.task(argumentKernels[name]);
      return {
        fits: ([input]) => isFloat(input?.dtype),
        bind(inputs, outputs) {
          const { shape, elements, pointer: input } = required(inputs, 0);
          const { outer, size, inner } = aroundAxis(shape, axisIn(node, shape));
          const extent = { outer, reduced: size, inner };
          const { items, values } = planArgument(extent, selectsLast(node));
          const output = required(outputs, 0).pointer;
          task.set({ ...values, input, output }, items, 2 * elements);
        },
        run: () => task.run(),
      };
    },
  };
}

export const argMax = argument("arg-max");
export const argMin = argument("arg-min");
