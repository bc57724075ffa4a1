/** Clip: bounds are attributes up to opset 10, optional inputs after it. */
import { planUnary, unaryKernels } from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";
import { floatAttribute, required } from "./attributes.ts";

const limitsOf = (
  node: OperatorNode,
  low: HostTensor | undefined,
  high: HostTensor | undefined,
) => ({
  alpha: low?.data[0] ?? floatAttribute(node, "min", Number.NEGATIVE_INFINITY),
  beta: high?.data[0] ?? floatAttribute(node, "max", Number.POSITIVE_INFINITY),
});

export const clip: Operator = {
  inPlace: [0],
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { data } = required(inputs, 0);
    const output = required(outputs, 0).data;
    const { alpha, beta } = limitsOf(node, inputs[1], inputs[2]);
    for (let i = 0; i < data.length; i++) output[i] = Math.min(beta, Math.max(alpha, data[i]));
  },
  async compile(node, context) {
    const isSet = (input: number) => (node.inputs[input] ?? "") !== "";
    if ([1, 2].some((input) => isSet(input) && !context.isConstant(input))) return undefined;
    const low = isSet(1) ? await context.constant(1) : undefined;
    const high = isSet(2) ? await context.constant(2) : undefined;
    const limits = limitsOf(node, low, high);
    const task = context.task(unaryKernels.clip);
    return {
      packed: [1, 2],
      fits: ([input]) => isFloat(input?.dtype),
      bind(inputs, outputs) {
        const { pointer: input, elements } = required(inputs, 0);
        const { items, values } = planUnary(elements, limits);
        task.set({ ...values, input, output: required(outputs, 0).pointer }, items, elements);
      },
      run: () => task.run(),
    };
  },
};
