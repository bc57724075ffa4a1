/** Min, Max, Sum, Mean: one or more operands, numpy's broadcasting. */
import {
  binaryKernels,
  broadcastShape,
  planBinary,
  planUnary,
  unaryKernels,
} from "../../../../native/index.ts";
import type { CompileContext, CompiledStep, Operator } from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { required } from "./attributes.ts";
import { commonShape, forBroadcast } from "./elementwise.ts";

type Kernel = "f32-min" | "f32-max" | "f32-add";

/** Folds the operands into the output, two at a time; the first pair must already have its shape. */
function compileFold(
  name: Kernel,
  count: number,
  isMean: boolean,
  context: CompileContext,
): CompiledStep | undefined {
  if (count < 2) return undefined;
  const tasks = Array.from({ length: count - 1 }, () => context.task(binaryKernels[name]));
  const scale = context.task(unaryKernels.affine);
  return {
    fits(inputs, outputs) {
      const [first, second] = inputs;
      const shape = outputs[0]?.shape;
      if (!first || !second || !shape || !inputs.every((input) => isFloat(input?.dtype)))
        return false;
      return (
        broadcastShape([first.shape, second.shape])?.join() === shape.join() &&
        planBinary(name, first.shape, second.shape) !== undefined &&
        inputs.slice(2).every((input) => input && planBinary(name, shape, input.shape))
      );
    },
    bind(inputs, outputs) {
      const output = required(outputs, 0);
      for (const [index, task] of tasks.entries()) {
        const a = index === 0 ? required(inputs, 0) : output;
        const b = required(inputs, index + 1);
        const plan = planBinary(name, a.shape, b.shape);
        if (!plan) return;
        const pointers = { a: a.pointer, b: b.pointer, output: output.pointer };
        task.set({ ...plan.values, ...pointers }, plan.items, output.elements);
      }
      const { items, values } = planUnary(output.elements, { alpha: 1 / count });
      const at = { input: output.pointer, output: output.pointer };
      scale.set({ ...values, ...at }, isMean ? items : 0, output.elements);
    },
    run() {
      for (const task of tasks) task.run();
      if (isMean) scale.run();
    },
  };
}

function variadic(kernel: Kernel, f: (a: number, b: number) => number, isMean = false): Operator {
  return {
    infer: (_, inputs) => [{ dtype: required(inputs, 0).dtype, shape: commonShape(inputs) }],
    compute(_, inputs, outputs) {
      const operands = inputs.flatMap((input) => (input ? [input] : []));
      const { data, shape } = required(outputs, 0);
      const divisor = isMean ? operands.length : 1;
      const shapes = operands.map((operand) => operand.shape);
      forBroadcast(shape, shapes, (at, positions) => {
        let result = operands[0].data[positions[0]];
        for (let k = 1; k < operands.length; k++) {
          result = f(result, operands[k].data[positions[k]]);
        }
        data[at] = result / divisor;
      });
    },
    compile: (node, context) => compileFold(kernel, node.inputs.length, isMean, context),
  };
}

export const minimum = variadic("f32-min", Math.min);
export const maximum = variadic("f32-max", Math.max);
export const sum = variadic("f32-add", (a, b) => a + b);
export const mean = variadic("f32-add", (a, b) => a + b, true);
