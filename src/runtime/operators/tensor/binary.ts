/**
 * Add, Sub, Mul, Div, Pow, PRelu, Mod, comparisons, logic and bits: two operands, numpy's broadcasting.
 * Invariant: floats and 64-bit numbers run on kernels, other integers in JavaScript.
 */
import {
  type BinaryName,
  binaryKernels,
  planBinary,
  planUnary,
  unaryForPower,
  unaryKernels,
} from "../../../../native/index.ts";
import type { DType } from "../../../core/tensor.ts";
import type {
  CompileContext,
  CompiledStep,
  Operand,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import { arrayOf, isFloat } from "../../session/storage.ts";
import { intAttribute, required } from "./attributes.ts";
import { commonShape, isInteger, mapPairs } from "./elementwise.ts";

type PairFunction = (a: number, b: number) => number;

interface BinaryOperator {
  readonly compute: (dtype: DType, node: OperatorNode) => PairFunction;
  /** Kernels, one for each way in which tensors are stored. */
  readonly kernels: readonly BinaryName[];
  /** Of the output; default the type of input 0. */
  readonly dtype?: DType;
}

/** Which kernel takes a tensor of this type. */
function familyOf(dtype: DType): "f32" | "f64" | "u8" | undefined {
  if (isFloat(dtype)) return "f32";
  if (arrayOf(dtype) === Float64Array) return "f64";
  return arrayOf(dtype) === Uint8Array ? "u8" : undefined;
}

function compileBinary(names: readonly BinaryName[], context: CompileContext): CompiledStep {
  const tasks = names.map((name) => ({ name, task: context.task(binaryKernels[name]) }));
  const find = (type: TensorType | undefined) => {
    const family = type && familyOf(type.dtype);
    return family && tasks.find(({ name }) => name.startsWith(family));
  };
  let current = tasks[0];
  return {
    fits(inputs) {
      const [a, b] = inputs;
      const found = find(a);
      return (
        found !== undefined &&
        a?.dtype === b?.dtype &&
        a !== undefined &&
        b !== undefined &&
        planBinary(found.name, a.shape, b.shape) !== undefined
      );
    },
    bind(inputs, outputs) {
      const a = required(inputs, 0);
      const b = required(inputs, 1);
      const output = required(outputs, 0);
      current = find(a) ?? current;
      const plan = planBinary(current.name, a.shape, b.shape);
      if (!plan) return;
      const pointers = { a: a.pointer, b: b.pointer, output: output.pointer };
      current.task.set({ ...plan.values, ...pointers }, plan.items, output.elements);
    },
    run: () => current.task.run(),
  };
}

function binary({ compute, kernels, dtype }: BinaryOperator): Operator {
  return {
    infer(_, inputs) {
      const a = required(inputs, 0);
      const b = required(inputs, 1);
      return [{ dtype: dtype ?? a.dtype, shape: commonShape([a, b]) }];
    },
    compute(node, inputs, outputs) {
      const a = required(inputs, 0);
      mapPairs(a, required(inputs, 1), required(outputs, 0), compute(a.dtype, node));
    },
    ...(kernels.length > 0 && { compile: (_, context) => compileBinary(kernels, context) }),
    // Comparisons give smaller elements than they take, so the sizes never agree.
    ...(dtype === undefined && { inPlace: [0, 1] }),
  };
}

const arithmetic = (kernel: "add" | "sub" | "mul", compute: PairFunction): Operator =>
  binary({ compute: () => compute, kernels: [`f32-${kernel}`, `f64-${kernel}`] });

const comparison = (
  kernel: "equal" | "less" | "less-equal" | "greater" | "greater-equal",
  compute: (a: number, b: number) => boolean,
): Operator =>
  binary({
    compute: () => (a, b) => (compute(a, b) ? 1 : 0),
    kernels: [
      `f32-u8-${kernel}`,
      `f64-u8-${kernel}`,
      ...(kernel === "equal" ? (["u8-equal"] as const) : []),
    ],
    dtype: "bool",
  });

const logic = (
  kernel: "and" | "or" | "xor",
  compute: (a: boolean, b: boolean) => boolean,
): Operator =>
  binary({
    compute: () => (a, b) => (compute(a !== 0, b !== 0) ? 1 : 0),
    kernels: [`u8-${kernel}`],
    dtype: "bool",
  });

export const add = arithmetic("add", (a, b) => a + b);
export const subtract = arithmetic("sub", (a, b) => a - b);
export const multiply: Operator = {
  ...arithmetic("mul", (a, b) => a * b),
  compute(_, inputs, outputs) {
    const a = required(inputs, 0);
    // Products of 32-bit integers can pass 2^53 before they wrap.
    const isWide = a.dtype === "int32" || a.dtype === "uint32";
    mapPairs(a, required(inputs, 1), required(outputs, 0), isWide ? Math.imul : (x, y) => x * y);
  },
};

const divideFloats = binary({
  compute: (dtype) => (isInteger(dtype) ? (a, b) => Math.trunc(a / b) : (a, b) => a / b),
  kernels: ["f32-div", "f64-div"],
});
/** Whole numbers are divided in JavaScript, because the kernel of 64-bit numbers leaves fractions. */
export const divide: Operator = {
  ...divideFloats,
  async compile(node, context) {
    const step = await divideFloats.compile?.(node, context);
    const fits = step?.fits;
    return (
      step && {
        ...step,
        fits: (inputs, outputs) =>
          !isInteger(inputs[0]?.dtype ?? "int64") && (fits?.(inputs, outputs) ?? true),
      }
    );
  },
};

export const prelu = binary({
  compute: () => (a, b) => (a < 0 ? a * b : a),
  kernels: ["f32-prelu"],
});

/** The sign of the divisor; with fmod, that of the dividend. */
export const modulo = binary({
  compute: (_, node) =>
    intAttribute(node, "fmod", 0) !== 0
      ? (a, b) => a % b
      : (a, b) => {
          const rest = a % b;
          return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
        },
  kernels: [],
});

/** As in C: powers of 1, and of −1 with infinite exponents, are 1, where JavaScript has NaN. */
const powerOf: PairFunction = (a, b) =>
  a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b;

const powers = binary({
  compute: (dtype) => (isInteger(dtype) ? (a, b) => Math.trunc(powerOf(a, b)) : powerOf),
  kernels: ["f32-pow"],
});
/** A constant exponent gets a kernel of its own: squares and roots cost a fraction of general powers. */
export const power: Operator = {
  ...powers,
  inPlace: [0],
  async compile(node, context) {
    const exponent = await context.constant(1);
    if (exponent?.data.length !== 1) return powers.compile?.(node, context);
    const alpha = exponent.data[0];
    const task = context.task(unaryKernels[unaryForPower(alpha)]);
    return {
      // An exponent of more dimensions only adds leading ones.
      fits: ([base]) => isFloat(base?.dtype),
      bind([base], outputs) {
        const { pointer, elements } = base as Operand;
        const { items, values } = planUnary(elements, { alpha });
        const output = required(outputs, 0).pointer;
        task.set({ ...values, input: pointer, output }, items, 4 * elements);
      },
      run: () => task.run(),
    };
  },
};

export const equal = comparison("equal", (a, b) => a === b);
export const less = comparison("less", (a, b) => a < b);
export const lessOrEqual = comparison("less-equal", (a, b) => a <= b);
export const greater = comparison("greater", (a, b) => a > b);
export const greaterOrEqual = comparison("greater-equal", (a, b) => a >= b);
export const and = logic("and", (a, b) => a && b);
export const or = logic("or", (a, b) => a || b);
export const xor = logic("xor", (a, b) => a !== b);

/** JavaScript has 32 bits for numbers; 64-bit ones take the way through BigInt. */
const bitwise = (short: PairFunction, long: (a: bigint, b: bigint) => bigint): Operator =>
  binary({
    compute: (dtype) =>
      arrayOf(dtype) === Float64Array ? (a, b) => Number(long(BigInt(a), BigInt(b))) : short,
    kernels: [],
  });
export const bitwiseAnd = bitwise(
  (a, b) => a & b,
  (a, b) => a & b,
);
export const bitwiseOr = bitwise(
  (a, b) => a | b,
  (a, b) => a | b,
);
export const bitwiseXor = bitwise(
  (a, b) => a ^ b,
  (a, b) => a ^ b,
);
