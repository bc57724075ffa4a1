/**
 * Cast, CastLike, Not, IsNaN, IsInf, BitwiseNot: another element type for the same shape.
 * Invariant: floats of 16 and 32 bits are the same in memory, so that casts between them only copy.
 */
import {
  type ConvertName,
  contiguousStrides,
  convertKernels,
  planConvert,
  planCopy,
} from "../../../../native/index.ts";
import { type DType, dtypeFromCode } from "../../../core/tensor.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
} from "../../session/operator.ts";
import { arrayOf, isFloat, isStored } from "../../session/storage.ts";
import { intAttribute, required } from "./attributes.ts";
import { copyBytes, copySlot } from "./copies.ts";

const targetOf = (node: OperatorNode): DType | undefined =>
  dtypeFromCode(intAttribute(node, "to", 0));

const isLong = (dtype: DType): boolean => dtype === "int64" || dtype === "uint64";

/** Kernel of a pair of types; "copy" where both are stored alike, undefined where JavaScript converts. */
function conversion(from: DType, to: DType): ConvertName | "copy" | undefined {
  if (to === "bool") {
    if (from === "bool") return "copy";
    if (isFloat(from)) return "f32-bool";
    return arrayOf(from) === Float64Array ? "f64-bool" : undefined;
  }
  if (from === "float64" && isLong(to)) return "f64-truncate";
  if (arrayOf(from) === arrayOf(to)) return "copy";
  if (isFloat(from)) {
    if (isLong(to)) return "f32-f64-truncate";
    if (to === "float64") return "f32-f64";
    if (to === "int32") return "f32-i32";
    return undefined;
  }
  if (isFloat(to)) {
    if (arrayOf(from) === Float64Array) return "f64-f32";
    if (from === "int32") return "i32-f32";
    if (from === "uint8" || from === "bool") return "u8-f32";
    return from === "int8" ? "i8-f32" : undefined;
  }
  if (arrayOf(to) !== Float64Array) return undefined;
  if (from === "int32") return "i32-f64";
  if (from === "uint8" || from === "bool") return "u8-f64";
  return from === "int8" ? "i8-f64" : undefined;
}

/** All that a cast may need: types are not always known when the session opens. */
const castNames = [
  "f32-bool",
  "f64-bool",
  "f64-truncate",
  "f32-f64-truncate",
  "f32-f64",
  "f32-i32",
  "f64-f32",
  "i32-f32",
  "u8-f32",
  "i8-f32",
  "i32-f64",
  "u8-f64",
  "i8-f64",
] as const satisfies readonly ConvertName[];

function compileCast(
  context: CompileContext,
  from: DType | undefined,
  to: DType | undefined,
): CompiledStep {
  const only = from && to && isStored(from) && isStored(to) ? conversion(from, to) : undefined;
  const names: readonly ConvertName[] = only ? (only === "copy" ? [] : [only]) : castNames;
  const tasks = new Map(names.map((name) => [name, context.task(convertKernels[name])]));
  const slot = copySlot(context);
  let current: { run(): void } | undefined;
  return {
    fits([input], [output]) {
      const name = input && output && conversion(input.dtype, output.dtype);
      if (!name || !input) return false;
      return name === "copy" ? copyBytes(input) !== undefined : tasks.has(name);
    },
    bind(inputs, outputs) {
      const input = required(inputs, 0);
      const output = required(outputs, 0);
      const name = conversion(input.dtype, output.dtype);
      if (name === "copy") {
        const bytes = copyBytes(input);
        const plan =
          bytes && planCopy(bytes, [input.elements], { strides: contiguousStrides([1]) });
        // In place: nothing moves.
        current = plan && input.pointer !== output.pointer ? slot : undefined;
        if (plan && current) slot.set(plan, bytes, input.pointer, output.pointer);
        return;
      }
      const task = name && tasks.get(name);
      const { items, values } = planConvert(input.elements);
      task?.set({ ...values, input: input.pointer, output: output.pointer }, items, input.elements);
      current = task;
    },
    run: () => current?.run(),
  };
}

/** Ranges of the integers, for casts of floats that do not fit. */
const ranges: Partial<Record<DType, readonly [number, number]>> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int8: [-128, 127],
  uint8: [0, 255],
  int4: [-8, 7],
  uint4: [0, 15],
};

/** One number of type `from` as type `to`: floats saturate, integers wrap in the output's array. */
function converter(from: DType, to: DType): (x: number) => number {
  if (to === "bool") return (x) => (x !== 0 ? 1 : 0);
  const isFromFloat = isFloat(from) || from === "float64";
  if (isFloat(to) || to === "float64" || !isFromFloat) return (x) => x;
  const [low, high] = ranges[to] ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  return (x) => (Number.isNaN(x) ? 0 : Math.trunc(Math.min(high, Math.max(low, x))));
}

const castBase: Pick<Operator, "compute" | "inPlace"> = {
  inPlace: [0],
  compute(_, inputs, outputs) {
    const input = required(inputs, 0);
    const output = required(outputs, 0);
    const convert = converter(input.dtype, output.dtype);
    for (let i = 0; i < input.data.length; i++) output.data[i] = convert(input.data[i]);
  },
};

export const cast: Operator = {
  ...castBase,
  refuses(node) {
    const to = targetOf(node);
    return isStored(to) ? undefined : `casts to ${to ?? "an unknown type"}`;
  },
  infer: (node, inputs) => [
    { dtype: targetOf(node) ?? "float32", shape: required(inputs, 0).shape },
  ],
  compile: (node, context) => compileCast(context, context.dtype(0), targetOf(node)),
};

export const castLike: Operator = {
  ...castBase,
  infer: (_, inputs) => [{ dtype: required(inputs, 1).dtype, shape: required(inputs, 0).shape }],
  compile: (_, context) => compileCast(context, context.dtype(0), context.dtype(1)),
};

/** A test of each element, bool. */
function predicate(
  test: (x: number, node: OperatorNode) => boolean,
  kernel?: "bool-not" | "f32-bool-is-nan",
): Operator {
  return {
    infer: (_, inputs) => [{ dtype: "bool", shape: required(inputs, 0).shape }],
    compute(node, inputs, outputs) {
      const { data } = required(inputs, 0);
      const output = required(outputs, 0).data;
      for (let i = 0; i < data.length; i++) output[i] = test(data[i], node) ? 1 : 0;
    },
    compile(_, context) {
      if (!kernel) return undefined;
      const task = context.task(convertKernels[kernel]);
      return {
        fits: ([input]) =>
          kernel === "bool-not" ? input?.dtype === "bool" : isFloat(input?.dtype),
        bind(inputs, outputs) {
          const { pointer: input, elements } = required(inputs, 0);
          const { items, values } = planConvert(elements);
          task.set({ ...values, input, output: required(outputs, 0).pointer }, items, elements);
        },
        run: () => task.run(),
      };
    },
  };
}

export const not = predicate((x) => x === 0, "bool-not");
export const isNotANumber = predicate((x) => Number.isNaN(x), "f32-bool-is-nan");
export const isInfinite = predicate(
  (x, node) =>
    (x === Number.POSITIVE_INFINITY && intAttribute(node, "detect_positive", 1) !== 0) ||
    (x === Number.NEGATIVE_INFINITY && intAttribute(node, "detect_negative", 1) !== 0),
);
