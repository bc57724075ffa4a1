/**
 * Functions of two elements with numpy's broadcasting: arithmetic, comparisons and logic that give bytes 0 or 1, and
 * the gated activations act(a)·b. The inner loop has three forms: both operands move, or one of them stands still.
 * `output` may be `a` or `b` where that operand has the output's shape and element size.
 */
import {
  type FunctionBuilder,
  f32x4,
  f64x2,
  type I32,
  i8x16,
  i32,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { planOperands } from "./broadcast.ts";
import {
  constant,
  type ElementType,
  forElements,
  truth8,
  truth32,
  truth64,
  x8,
  x32,
  x64,
} from "./elements.ts";
import { levelFields, walkLevels } from "./levels.ts";
import { preparePow } from "./math-pow.ts";
import { prepareGelu, prepareGeluTanh, prepareSilu } from "./unary.ts";

/** Addresses and strides in bytes; `aStep`, `bStep`: 1 if the operand moves inside a run, 0 if it stands still. */
export const binaryFields = {
  a: "i32",
  b: "i32",
  output: "i32",
  aStep: "i32",
  bStep: "i32",
  ...levelFields(["a", "b", "output"]),
} as const;

type BinaryFunction = (a: V128, b: V128) => V128;
type PrepareFunction = (code: FunctionBuilder) => BinaryFunction;

interface BinaryFamily {
  /** First part of the kernels' names: what goes in, and what comes out if that differs. */
  readonly types: string;
  readonly input: ElementType;
  readonly output: ElementType;
}

const families = {
  f32: { types: "f32", input: x32, output: x32 },
  f32u8: { types: "f32-u8", input: x32, output: truth32 },
  f64: { types: "f64", input: x64, output: x64 },
  f64u8: { types: "f64-u8", input: x64, output: truth64 },
  u8: { types: "u8", input: x8, output: truth8 },
} as const satisfies Readonly<Record<string, BinaryFamily>>;

const plain =
  (compute: BinaryFunction): PrepareFunction =>
  () =>
    compute;

/** act(a) · b. */
const gate =
  (prepare: (code: FunctionBuilder) => (x: V128) => V128): PrepareFunction =>
  (code) => {
    const activate = prepare(code);
    return (a, b) => f32x4.mul(activate(a), b);
  };

/** act(a + b): an activation after a bias. */
const biased =
  (prepare: (code: FunctionBuilder) => (x: V128) => V128): PrepareFunction =>
  (code) => {
    const activate = prepare(code);
    const sum = code.local("v128");
    return (a, b) => {
      sum.set(f32x4.add(a, b));
      return activate(sum);
    };
  };

/** Bytes that are not 0 count as true. */
const truths =
  (compute: BinaryFunction): PrepareFunction =>
  (code) => {
    const zero = constant(code, 0);
    return (a, b) => compute(i8x16.ne(a, zero), i8x16.ne(b, zero));
  };

const functions = {
  f32: {
    add: plain(f32x4.add),
    sub: plain(f32x4.sub),
    mul: plain(f32x4.mul),
    div: plain(f32x4.div),
    min: plain(f32x4.min),
    max: plain(f32x4.max),
    pow: preparePow,
    /** a ≥ 0: a; else a·b */
    prelu: (code) => {
      const given = code.local("v128");
      return (a, b) => {
        given.set(a);
        return v128.bitselect(f32x4.mul(given, b), given, f32x4.lt(given, v128.zero()));
      };
    },
    /** silu(a)·b, SwiGLU */
    "silu-mul": gate(prepareSilu),
    /** gelu(a)·b, GeGLU */
    "gelu-mul": gate(prepareGelu),
    "gelu-tanh-mul": gate(prepareGeluTanh),
    /** gelu(a + b), BiasGelu */
    "add-gelu": biased(prepareGelu),
    /** The tanh form of gelu(a + b), FastGelu with a bias */
    "add-gelu-tanh": biased(prepareGeluTanh),
  },
  f32u8: {
    equal: plain(f32x4.eq),
    less: plain(f32x4.lt),
    "less-equal": plain(f32x4.le),
    greater: plain(f32x4.gt),
    "greater-equal": plain(f32x4.ge),
  },
  f64: {
    add: plain(f64x2.add),
    sub: plain(f64x2.sub),
    mul: plain(f64x2.mul),
    div: plain(f64x2.div),
    min: plain(f64x2.min),
    max: plain(f64x2.max),
  },
  f64u8: {
    equal: plain(f64x2.eq),
    less: plain(f64x2.lt),
    "less-equal": plain(f64x2.le),
    greater: plain(f64x2.gt),
    "greater-equal": plain(f64x2.ge),
  },
  u8: {
    and: truths(v128.and),
    or: truths(v128.or),
    xor: truths(v128.xor),
    equal: plain(i8x16.eq),
  },
} satisfies { readonly [F in keyof typeof families]: Readonly<Record<string, PrepareFunction>> };

type FamilyName = keyof typeof families;
/** By the kernel's name without its instruction set: "f32-add", "f32-u8-less", "u8-and". */
export type BinaryName = {
  [F in FamilyName]: `${(typeof families)[F]["types"]}-${keyof (typeof functions)[F] & string}`;
}[FamilyName];
export type BinaryKernel = Kernel<typeof binaryFields>;

function binaryKernel(
  name: string,
  { input, output }: BinaryFamily,
  prepare: PrepareFunction,
): BinaryKernel {
  return defineKernel({
    name: `${name}-simd128`,
    isa: "simd128",
    fields: binaryFields,
    item: "piece of a run",
    build: (code) => buildBinary(code, input, output, prepare(code)),
  });
}

function buildBinary(
  code: KernelCode<typeof binaryFields>,
  input: ElementType,
  output: ElementType,
  compute: BinaryFunction,
): void {
  const { fields } = code;
  const [a, b, to] = code.locals(3, "i32");
  const moving = { a: { pointer: a, bytes: input.bytes }, b: { pointer: b, bytes: input.bytes } };
  const run = (count: I32, still?: "a" | "b") => {
    const splat = code.local("v128");
    if (still) splat.set(input.splat(moving[still].pointer));
    const pointers = [
      ...(still === "a" ? [] : [moving.a]),
      ...(still === "b" ? [] : [moving.b]),
      { pointer: to, bytes: output.bytes },
    ];
    const lanes = Math.min(input.lanes, output.lanes);
    forElements(code, count, lanes, pointers, (isWhole) => {
      const read = isWhole ? input.load : input.splat;
      const result = compute(still === "a" ? splat : read(a), still === "b" ? splat : read(b));
      code.do(isWhole ? output.store(to, result) : output.storeOne(to, result));
    });
  };
  const starts = { a: fields.a, b: fields.b, output: fields.output };
  walkLevels<"a" | "b" | "output">(code, fields, starts, (count) => {
    a.set(fields.a);
    b.set(fields.b);
    to.set(fields.output);
    code.if(
      i32.and(fields.aStep, fields.bStep),
      () => run(count),
      () => {
        code.if(
          fields.aStep,
          () => run(count, "b"),
          () => run(count, "a"),
        );
      },
    );
  });
}

const kernels = (Object.keys(families) as FamilyName[]).flatMap((family) =>
  Object.entries<PrepareFunction>(functions[family]).map(([name, prepare]) => {
    const full = `${families[family].types}-${name}`;
    return [full, { kernel: binaryKernel(full, families[family], prepare), family }] as const;
  }),
);

/** Every kernel of two elements, by name. */
export const binaryKernels = Object.fromEntries(
  kernels.map(([name, { kernel }]) => [name, kernel]),
) as Readonly<Record<BinaryName, BinaryKernel>>;

const familyOf = new Map<string, BinaryFamily>(
  kernels.map(([name, { family }]) => [name, families[family]]),
);

export interface BinaryPlan {
  /** Of the output. */
  readonly shape: readonly number[];
  readonly items: number;
  readonly values: Omit<FieldValues<typeof binaryFields>, "a" | "b" | "output">;
}

/** @returns undefined if the shapes do not fit, or need more than six levels after merging. */
export function planBinary(
  name: BinaryName,
  a: readonly number[],
  b: readonly number[],
): BinaryPlan | undefined {
  const { input, output } = familyOf.get(name) as BinaryFamily;
  const operands = { a: { shape: a, bytes: input.bytes }, b: { shape: b, bytes: input.bytes } };
  return planOperands(operands, output.bytes);
}
