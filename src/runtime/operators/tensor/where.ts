/** Where: condition ? a : b, with numpy's broadcasting. */
import { type ElementBytes, planWhere, whereKernels } from "../../../../native/index.ts";
import type { Operator } from "../../session/operator.ts";
import { required } from "./attributes.ts";
import { copyBytes } from "./copies.ts";
import { commonShape, forBroadcast } from "./elementwise.ts";

export const where: Operator = {
  infer: (_, inputs) => [{ dtype: required(inputs, 1).dtype, shape: commonShape(inputs) }],
  compute(_, inputs, outputs) {
    const condition = required(inputs, 0);
    const a = required(inputs, 1);
    const b = required(inputs, 2);
    const { data, shape } = required(outputs, 0);
    forBroadcast(shape, [condition.shape, a.shape, b.shape], (at, [c, i, j]) => {
      data[at] = condition.data[c] ? a.data[i] : b.data[j];
    });
  },
  compile(_, context) {
    const tasks = {
      1: context.task(whereKernels[1]),
      4: context.task(whereKernels[4]),
      8: context.task(whereKernels[8]),
    };
    let bytes: ElementBytes = 4;
    return {
      fits([condition, a, b]) {
        const size = a && copyBytes(a);
        if (!condition || !a || !b || !size) return false;
        return planWhere(size, condition.shape, a.shape, b.shape) !== undefined;
      },
      bind(inputs, outputs) {
        const condition = required(inputs, 0);
        const a = required(inputs, 1);
        const b = required(inputs, 2);
        const output = required(outputs, 0);
        bytes = copyBytes(a) ?? bytes;
        const plan = planWhere(bytes, condition.shape, a.shape, b.shape);
        if (!plan) return;
        const pointers = {
          condition: condition.pointer,
          a: a.pointer,
          b: b.pointer,
          output: output.pointer,
        };
        tasks[bytes].set({ ...plan.values, ...pointers }, plan.items, 2 * output.elements);
      },
      run: () => tasks[bytes].run(),
    };
  },
};
