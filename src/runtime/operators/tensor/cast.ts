/**
 * Cast, CastLike, and the tests of elements that give bool: Not, IsNaN, IsInf.
 * Invariant: floats of 16 and 32 bits are the same in memory. A cast to 16 bits rounds the numbers to that type; other
 * operators whose results have such a type keep the digits of float32.
 */
import {
  type ConvertName,
  contiguousStrides,
  convertKernels,
  planConvert,
  planCopy,
} from "../../../../native/index.ts";
import {
  type DType,
  dtypeFromCode,
  dtypes,
  fromBfloat16Bits,
  roundToFloat16,
  toBfloat16Bits,
} from "../../../core/tensor.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
} from "../../session/operator.ts";
import { arrayOf, isFloat, isStored } from "../../session/storage.ts";
import { intAttribute, product, required } from "./attributes.ts";
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
  if (bitsOf(to) < 8 && from !== to) return undefined;
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

const bitsOf = (dtype: DType): number => dtypes[dtype].bits;

/** Through these a float32 is rounded to a type of 16 bits; undefined where its numbers fit as they are. */
function roundingOf(from: DType, to: DType): readonly [ConvertName, ConvertName] | undefined {
  // Codes of 8 bits have no more digits than the 8 of bfloat16.
  if (from === to || bitsOf(from) <= 8) return undefined;
  if (to === "float16") return ["f32-f16", "f16-f32"];
  return to === "bfloat16" ? ["f32-bf16", "bf16-f32"] : undefined;
}

const storedTypes = (Object.keys(dtypes) as DType[]).filter(isStored);

/** Every kernel that a cast may need: a type that the file does not declare may be any. */
function possibleKernels(from: DType | undefined, to: DType | undefined): Set<ConvertName> {
  const names = new Set<ConvertName>();
  for (const source of from ? [from] : storedTypes) {
    for (const target of to ? [to] : storedTypes) {
      const name = conversion(source, target);
      if (name === undefined) continue;
      if (name !== "copy") names.add(name);
      for (const rounding of roundingOf(source, target) ?? []) names.add(rounding);
    }
  }
  return names;
}

function compileCast(
  context: CompileContext,
  from: DType | undefined,
  to: DType | undefined,
): CompiledStep {
  const names = [...possibleKernels(from, to)];
  const tasks = new Map(names.map((name) => [name, context.task(convertKernels[name])]));
  const slot = copySlot(context);
  let current: readonly { run(): void }[] = [];
  const convert = (name: ConvertName, input: number, output: number, elements: number) => {
    const task = tasks.get(name);
    const { items, values } = planConvert(elements);
    task?.set({ ...values, input, output }, items, elements);
    return task ? [task] : [];
  };
  return {
    fits([input], [output]) {
      const name = input && output && conversion(input.dtype, output.dtype);
      if (!name || !input) return false;
      return name === "copy" ? copyBytes(input) !== undefined : tasks.has(name);
    },
    workspaceBytes([input], [output]) {
      const isRounded = input && output && roundingOf(input.dtype, output.dtype);
      return isRounded ? 2 * product(input.shape) : 0;
    },
    bind(inputs, outputs, workspace) {
      const input = required(inputs, 0);
      const output = required(outputs, 0);
      const { elements } = input;
      const name = conversion(input.dtype, output.dtype);
      const rounding = roundingOf(input.dtype, output.dtype);
      if (rounding) {
        const [narrow, widen] = rounding;
        const isConverted = name !== undefined && name !== "copy";
        current = [
          ...(isConverted ? convert(name, input.pointer, output.pointer, elements) : []),
          ...convert(narrow, isConverted ? output.pointer : input.pointer, workspace, elements),
          ...convert(widen, workspace, output.pointer, elements),
        ];
      } else if (name === "copy") {
        const bytes = copyBytes(input);
        const plan = bytes && planCopy(bytes, [elements], { strides: contiguousStrides([1]) });
        // In place: nothing moves.
        current = plan && input.pointer !== output.pointer ? [slot] : [];
        if (plan && current.length > 0) slot.set(plan, bytes, input.pointer, output.pointer);
      } else current = name ? convert(name, input.pointer, output.pointer, elements) : [];
    },
    run() {
      for (const task of current) task.run();
    },
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
  int2: [-2, 1],
  uint2: [0, 3],
};

/** One number of type `from` as type `to`: floats saturate, integers lose their high bits. */
function converter(from: DType, to: DType): (x: number) => number {
  if (to === "bool") return (x) => (x !== 0 ? 1 : 0);
  if (to === "float16") return roundToFloat16;
  if (to === "bfloat16") return (x) => fromBfloat16Bits(toBfloat16Bits(x));
  const isFromFloat = isFloat(from) || from === "float64";
  if (isFloat(to) || to === "float64") return (x) => x;
  if (!isFromFloat) {
    const unused = 32 - bitsOf(to);
    // The output's array drops the high bits of 8, 16 and 32.
    if (bitsOf(to) >= 8) return (x) => x;
    return to.startsWith("u") ? (x) => (x << unused) >>> unused : (x) => (x << unused) >> unused;
  }
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

type PredicateKernel = "bool-not" | "f32-bool-is-nan";

/** A test of each element, bool. */
function predicate(
  test: (x: number, node: OperatorNode) => boolean,
  kernel?: PredicateKernel,
): Operator {
  return {
    infer: (_, inputs) => [{ dtype: "bool", shape: required(inputs, 0).shape }],
    compute(node, inputs, outputs) {
      const { data } = required(inputs, 0);
      const output = required(outputs, 0).data;
      for (let i = 0; i < data.length; i++) output[i] = test(data[i], node) ? 1 : 0;
    },
    ...(kernel && { compile: (_, context) => compilePredicate(kernel, context) }),
  };
}

function compilePredicate(kernel: PredicateKernel, context: CompileContext): CompiledStep {
  const task = context.task(convertKernels[kernel]);
  return {
    fits: ([input]) => (kernel === "bool-not" ? input?.dtype === "bool" : isFloat(input?.dtype)),
    bind(inputs, outputs) {
      const { pointer: input, elements } = required(inputs, 0);
      const { items, values } = planConvert(elements);
      task.set({ ...values, input, output: required(outputs, 0).pointer }, items, elements);
    },
    run: () => task.run(),
  };
}

export const not = predicate((x) => x === 0, "bool-not");
export const isNotANumber = predicate((x) => Number.isNaN(x), "f32-bool-is-nan");
export const isInfinite = predicate(
  (x, node) =>
    (x === Number.POSITIVE_INFINITY && intAttribute(node, "detect_positive", 1) !== 0) ||
    (x === Number.NEGATIVE_INFINITY && intAttribute(node, "detect_negative", 1) !== 0),
);
