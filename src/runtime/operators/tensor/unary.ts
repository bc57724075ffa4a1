/**
 * Functions of one element: Relu, Sigmoid, Erf, Exp, Clip, Gelu … The kernels take float32; other types and constants
 * go through the JavaScript form.
 */
import { planUnary, type UnaryName, unaryKernels } from "../../../../native/index.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
} from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { floatAttribute, required } from "./attributes.ts";
import { errorFunction } from "./error-function.ts";

type ElementFunction = (x: number) => number;

export interface Parameters {
  readonly alpha?: number;
  readonly beta?: number;
}

interface UnaryOperator {
  readonly kernel: UnaryName | ((node: OperatorNode) => UnaryName);
  readonly compute: (parameters: Required<Parameters>, node: OperatorNode) => ElementFunction;
  readonly parameters?: (node: OperatorNode) => Parameters;
  /** Rough cost of an element, in multiplications. */
  readonly work?: number;
}

/** The fast form: one kernel over all elements. */
export function unaryStep(
  context: CompileContext,
  name: UnaryName,
  parameters: Parameters,
  work = 1,
): CompiledStep {
  const task = context.task(unaryKernels[name]);
  return {
    fits: ([input]) => isFloat(input?.dtype),
    bind(inputs, outputs) {
      const { pointer: input, elements } = required(inputs, 0);
      const output = required(outputs, 0).pointer;
      const { items, values } = planUnary(elements, parameters);
      task.set({ ...values, input, output }, items, elements * work);
    },
    run: () => task.run(),
  };
}

export function unary({ kernel, compute, parameters, work = 1 }: UnaryOperator): Operator {
  return {
    inPlace: [0],
    infer(_, inputs) {
      const { dtype, shape } = required(inputs, 0);
      return [{ dtype, shape }];
    },
    compute(node, inputs, outputs) {
      const { data } = required(inputs, 0);
      const output = required(outputs, 0).data;
      const f = compute({ alpha: 0, beta: 0, ...parameters?.(node) }, node);
      for (let i = 0; i < data.length; i++) output[i] = f(data[i]);
    },
    compile: (node, context) =>
      unaryStep(
        context,
        typeof kernel === "string" ? kernel : kernel(node),
        parameters?.(node) ?? {},
        work,
      ),
  };
}

const plain = (kernel: UnaryName, f: ElementFunction, work = 1): Operator =>
  unary({ kernel, compute: () => f, work });

/** Halves to the even integer. */
export function roundToEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x));
const withAlpha = (alpha: number) => (node: OperatorNode) => ({
  alpha: floatAttribute(node, "alpha", alpha),
});

const isTanh = (node: OperatorNode): boolean => {
  const approximate = node.attributes.get("approximate");
  return approximate?.type === "string" && approximate.value === "tanh";
};
const geluOf = (x: number): number => (x / 2) * (1 + errorFunction(x / Math.SQRT2));
const geluTanhOf = (x: number): number =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Functions that no kernel has: rare enough for JavaScript. */
function rare(compute: (node: OperatorNode) => ElementFunction): Operator {
  return {
    inPlace: [0],
    infer(_, inputs) {
      const { dtype, shape } = required(inputs, 0);
      return [{ dtype, shape }];
    },
    compute(node, inputs, outputs) {
      const { data } = required(inputs, 0);
      const output = required(outputs, 0).data;
      const f = compute(node);
      for (let i = 0; i < data.length; i++) output[i] = f(data[i]);
    },
  };
}

/** Constants of Klambauer et al. 2017, as the operator's definition rounds them. */
const seluAlpha = Math.fround(1.6732632);
const seluGamma = Math.fround(1.050701);

export const unaryOperators: Readonly<Record<string, Operator>> = {
  Relu: plain("relu", (x) => Math.max(x, 0)),
  Sigmoid: plain("sigmoid", sigmoidOf, 8),
  Tanh: plain("tanh", Math.tanh, 8),
  Erf: plain("erf", errorFunction, 8),
  Exp: plain("exp", Math.exp, 8),
  Log: plain("log", Math.log, 8),
  Sqrt: plain("sqrt", Math.sqrt, 2),
  Reciprocal: plain("reciprocal", (x) => 1 / x, 2),
  Neg: plain("neg", (x) => -x),
  Abs: plain("abs", Math.abs),
  Floor: plain("floor", Math.floor),
  Ceil: plain("ceil", Math.ceil),
  Round: plain("round", roundToEven),
  Sin: plain("sin", Math.sin, 12),
  Cos: plain("cos", Math.cos, 12),
  Sign: plain("sign", Math.sign),
  Softplus: plain("softplus", (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), 16),
  HardSwish: plain("hard-swish", (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5)), 3),
  Elu: unary({
    kernel: "elu",
    compute:
      ({ alpha }) =>
      (x) =>
        x < 0 ? alpha * Math.expm1(x) : x,
    parameters: withAlpha(1),
    work: 8,
  }),
  LeakyRelu: unary({
    kernel: "leaky-relu",
    compute:
      ({ alpha }) =>
      (x) =>
        x < 0 ? alpha * x : x,
    parameters: withAlpha(0.01),
  }),
  HardSigmoid: unary({
    kernel: "hard-sigmoid",
    compute:
      ({ alpha, beta }) =>
      (x) =>
        Math.max(0, Math.min(1, alpha * x + beta)),
    parameters: (node) => ({ ...withAlpha(0.2)(node), beta: floatAttribute(node, "beta", 0.5) }),
    work: 3,
  }),
  Gelu: unary({
    kernel: (node) => (isTanh(node) ? "gelu-tanh" : "gelu"),
    compute: (_, node) => (isTanh(node) ? geluTanhOf : geluOf),
    work: 12,
  }),
  Swish: unary({
    kernel: "quick-gelu",
    compute:
      ({ alpha }) =>
      (x) =>
        x * sigmoidOf(alpha * x),
    parameters: withAlpha(1),
    work: 8,
  }),
  Selu: rare((node) => {
    const alpha = floatAttribute(node, "alpha", seluAlpha);
    const gamma = floatAttribute(node, "gamma", seluGamma);
    return (x) => gamma * (x < 0 ? alpha * Math.expm1(x) : x);
  }),
  Celu: rare((node) => {
    const alpha = floatAttribute(node, "alpha", 1);
    return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
  }),
  ThresholdedRelu: rare((node) => {
    const alpha = floatAttribute(node, "alpha", 1);
    return (x) => (x > alpha ? x : 0);
  }),
  Mish: rare(() => (x) => x * Math.tanh(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))))),
  Softsign: rare(() => (x) => x / (1 + Math.abs(x))),
  Tan: rare(() => Math.tan),
  Asin: rare(() => Math.asin),
  Acos: rare(() => Math.acos),
  Atan: rare(() => Math.atan),
  Sinh: rare(() => Math.sinh),
  Cosh: rare(() => Math.cosh),
  Asinh: rare(() => Math.asinh),
  Acosh: rare(() => Math.acosh),
  Atanh: rare(() => Math.atanh),
};
