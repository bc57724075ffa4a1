/**
 * Activations of the contrib domain, with a bias or a gate where they have one, and those that fusions make.
 */
import {
  type BinaryName,
  binaryKernels,
  broadcastShape,
  planBinary,
} from "../../../../native/index.ts";
import type { CompileContext, CompiledStep, Operator } from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { floatAttribute, required, textAttribute } from "../tensor/attributes.ts";
import { errorFunction } from "../tensor/error-function.ts";
import { unary, unaryStep } from "../tensor/unary.ts";
import { repeated } from "./repeated.ts";

type ElementFunction = (x: number) => number;

const gelu: ElementFunction = (x) => (x / 2) * (1 + errorFunction(x / Math.SQRT2));
const geluTanh: ElementFunction = (x) =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const silu: ElementFunction = (x) => x / (1 + Math.exp(-x));

/** act(x + bias), the bias along the last axis; without one, act(x). */
function biased(
  kernel: "gelu" | "gelu-tanh",
  biasedKernel: BinaryName,
  activate: ElementFunction,
): Operator {
  return {
    inPlace: [0],
    infer(_, inputs) {
      const { dtype, shape } = required(inputs, 0);
      const bias = inputs[1];
      if (bias && bias.shape.at(-1) !== shape.at(-1)) {
        throw new RangeError(`a bias of ${bias.shape.at(-1)} for rows of ${shape.at(-1)}`);
      }
      return [{ dtype, shape }];
    },
    compute(_, [input, bias], outputs) {
      if (!input) return;
      const { data } = required(outputs, 0);
      const length = bias?.data.length ?? 1;
      for (let i = 0; i < data.length; i++) {
        // The sum has float32 or less in ONNX Runtime too.
        data[i] = activate(bias ? input.data[i] + bias.data[i % length] : input.data[i]);
      }
    },
    compile(node, context) {
      if (!node.inputs[1]) return unaryStep(context, kernel, {}, 10);
      return binaryStep(context, biasedKernel);
    },
  };
}

/** act(a) · b, broadcast. */
function gated(kernel: BinaryName, activate: ElementFunction): Operator {
  return {
    inPlace: [0, 1],
    infer(_, inputs) {
      const { dtype, shape } = required(inputs, 0);
      const other = required(inputs, 1);
      const common = broadcastShape([shape, other.shape]);
      if (common) return [{ dtype, shape: common }];
      throw new RangeError(`a gate [${shape.join(", ")}] on [${other.shape.join(", ")}]`);
    },
    compute(_, inputs, outputs) {
      const { data, shape } = required(outputs, 0);
      const [gate, value] = [
        repeated(required(inputs, 0), shape),
        repeated(required(inputs, 1), shape),
      ];
      for (let i = 0; i < data.length; i++) data[i] = activate(gate(i)) * value(i);
    },
    compile: (_, context) => binaryStep(context, kernel),
  };
}

function binaryStep(context: CompileContext, kernel: BinaryName): CompiledStep {
  const task = context.task(binaryKernels[kernel]);
  return {
    fits: (inputs) =>
      inputs.every((input) => isFloat(input?.dtype)) &&
      planBinary(kernel, required(inputs, 0).shape, required(inputs, 1).shape) !== undefined,
    bind(inputs, outputs) {
      const [a, b, output] = [required(inputs, 0), required(inputs, 1), required(outputs, 0)];
      const plan = planBinary(kernel, a.shape, b.shape);
      if (!plan) return;
      const pointers = { a: a.pointer, b: b.pointer, output: output.pointer };
      task.set({ ...plan.values, ...pointers }, plan.items, 10 * output.elements);
    },
    run: () => task.run(),
  };
}

const erf = biased("gelu", "f32-add-gelu", gelu);
const tanh = biased("gelu-tanh", "f32-add-gelu-tanh", geluTanh);

/** Fused nodes: Gelu has the attribute `approximate` of the standard operator. */
export const activationOperators: Readonly<Record<string, Operator>> = {
  "com.microsoft::Gelu": erf,
  "com.microsoft::BiasGelu": erf,
  "com.microsoft::FastGelu": tanh,
  "com.microsoft::QuickGelu": unary({
    kernel: (node) => (floatAttribute(node, "alpha", 1.702) === 1 ? "silu" : "quick-gelu"),
    compute:
      ({ alpha }) =>
      (x) =>
        x / (1 + Math.exp(-alpha * x)),
    parameters: (node) => ({ alpha: floatAttribute(node, "alpha", 1.702) }),
    work: 10,
  }),
  "bitloom.internal::Gelu": unary({
    kernel: (node) => (isTanh(node) ? "gelu-tanh" : "gelu"),
    compute: (_, node) => (isTanh(node) ? geluTanh : gelu),
    work: 10,
  }),
  "bitloom.internal::Silu": unary({ kernel: "silu", compute: () => silu, work: 10 }),
  "bitloom.internal::SiluMul": gated("f32-silu-mul", silu),
  "bitloom.internal::GeluMul": gated("f32-gelu-mul", gelu),
  "bitloom.internal::GeluTanhMul": gated("f32-gelu-tanh-mul", geluTanh),
};

function isTanh(node: Parameters<typeof textAttribute>[0]): boolean {
  return textAttribute(node, "approximate", "none") === "tanh";
}
