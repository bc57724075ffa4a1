/**
 * Softmax and LogSoftmax. Before opset 13 the axis splits the tensor into a matrix whose rows are normalised; since
 * then only the axis itself is.
 */
import {
  planSoftmax,
  planSoftmaxColumns,
  type SoftmaxName,
  softmaxColumnKernels,
  softmaxKernels,
} from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { axisOf, intAttribute, product, required } from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";

function extentOf(node: OperatorNode, shape: readonly number[]) {
  const isMatrix = node.opset < 13;
  const axis = axisOf(intAttribute(node, "axis", isMatrix ? 1 : -1), shape.length);
  if (!isMatrix) return aroundAxis(shape, axis);
  return { outer: product(shape.slice(0, axis)), size: product(shape.slice(axis)), inner: 1 };
}

function softmaxOperator(name: SoftmaxName): Operator {
  const isLog = name === "log-softmax";
  return {
    inPlace: [0],
    infer(node, inputs) {
      const { dtype, shape } = required(inputs, 0);
      extentOf(node, shape);
      return [{ dtype, shape }];
    },
    compute(node, inputs, outputs) {
      const { data, shape } = required(inputs, 0);
      const result = required(outputs, 0).data;
      const { outer, size, inner } = extentOf(node, shape);
      for (let row = 0; row < outer * inner; row++) {
        const start = Math.floor(row / inner) * size * inner + (row % inner);
        let largest = Number.NEGATIVE_INFINITY;
        for (let i = 0; i < size; i++) largest = Math.max(largest, data[start + i * inner]);
        let sum = 0;
        for (let i = 0; i < size; i++) sum += Math.exp(data[start + i * inner] - largest);
        for (let i = 0; i < size; i++) {
          const shifted = data[start + i * inner] - largest;
          result[start + i * inner] = isLog ? shifted - Math.log(sum) : Math.exp(shifted) / sum;
        }
      }
    },
    compile(node, context) {
      const rows = context.task(softmaxKernels[name]);
      const columns = context.task(softmaxColumnKernels[name]);
      let current: { run(): void } = rows;
      return {
        fits: ([input]) => isFloat(input?.dtype),
        bind(inputs, outputs) {
          const { shape, elements, pointer: input } = required(inputs, 0);
          const output = required(outputs, 0).pointer;
          const { outer, size, inner } = extentOf(node, shape);
          const work = 10 * elements;
          if (inner === 1) {
            current = rows;
            const plan = planSoftmax([outer, size]);
            if (plan) rows.set({ ...plan.values, input, output, mask: 0 }, plan.items, work);
          } else {
            current = columns;
            const { items, values } = planSoftmaxColumns(outer, size, inner);
            columns.set({ ...values, input, output }, items, work);
          }
        },
        run: () => current.run(),
      };
    },
  };
}

export const softmax = softmaxOperator("softmax");
export const logSoftmax = softmaxOperator("log-softmax");
