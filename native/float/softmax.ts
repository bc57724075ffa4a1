/**
 * Softmax and its logarithm: over the rows of [rows, length] with an optional scale and additive mask, or over the
 * middle axis of [outer, length, inner]. The output may be the input.
 */
import {
  type FunctionBuilder,
  f32,
  f32x4,
  f64,
  f64x2,
  type I32,
  i32,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { constant, forElements, highHalf, lowHalves, smaller } from "./elements.ts";
import { prepareExp, prepareLog } from "./math.ts";

/**
 * Addresses in bytes, all arrays float32. `mask`: 0, or rows of `length`; row r of the input uses mask row
 * ⌊r / maskOuter⌋ · maskInner + (r modulo maskInner).
 */
export const softmaxFields = {
  input: "i32",
  output: "i32",
  mask: "i32",
  maskOuter: "i32",
  maskInner: "i32",
  length: "i32",
  scale: "f32",
} as const;

/** Input and output [outer, length, inner]. */
export const softmaxColumnFields = {
  input: "i32",
  output: "i32",
  length: "i32",
  inner: "i32",
} as const;

/** Columns of one item of the column kernels. */
export const softmaxItemColumns = 16;

export type SoftmaxName = "softmax" | "log-softmax";
export type SoftmaxKernel = Kernel<typeof softmaxFields>;
export type SoftmaxColumnKernel = Kernel<typeof softmaxColumnFields>;

/** Σ of float32 lanes in float64. */
function prepareSum(code: FunctionBuilder) {
  const [low, high, value] = code.locals(3, "v128");
  const firstLaneOnly = code.local(
    "v128",
    v128.const([...Array(8).fill(255), ...Array(8).fill(0)]),
  );
  return {
    low,
    high,
    clear: () => {
      low.set(v128.zero());
      high.set(v128.zero());
    },
    add: (x: V128) => {
      value.set(x);
      low.set(f64x2.add(low, f64x2.promote_low_f32x4(value)));
      high.set(f64x2.add(high, f64x2.promote_low_f32x4(highHalf(value))));
    },
    addOne: (x: V128) =>
      low.set(f64x2.add(low, v128.and(f64x2.promote_low_f32x4(x), firstLaneOnly))),
  };
}

function buildRows(code: KernelCode<typeof softmaxFields>, isLog: boolean): void {
  const { input, output, mask, maskOuter, maskInner, length, scale } = code.fields;
  const exp = prepareExp(code);
  const log = isLog ? prepareLog(code) : undefined;
  const sum = prepareSum(code);
  const lowest = constant(code, Number.NEGATIVE_INFINITY);
  const factor = code.local("v128", f32x4.splat(scale));
  const rowBytes = code.local("i32", i32.mul(length, i32.const(4)));
  const [from, to, masked] = code.locals(3, "i32");
  const [largest, value, term] = code.locals(3, "v128");
  const moving = (...pointers: Local<"i32">[]) =>
    pointers.map((pointer) => ({ pointer, bytes: 4 }));
  const read = (isWhole: boolean, at: Local<"i32">): V128 =>
    isWhole ? v128.load(at) : v128.load32_splat(at);
  const write = (isWhole: boolean, stored: V128) =>
    code.do(isWhole ? v128.store(to, stored) : v128.store32_lane(to, stored, 0));
  const back = () => code.advance(to, i32.sub(i32.const(0), rowBytes));

  code.for(code.begin, code.end, 1, (row) => {
    from.set(i32.add(input, i32.mul(row, rowBytes)));
    to.set(i32.add(output, i32.mul(row, rowBytes)));
    // pmax passes over NaN, which reaches the sum below and so the whole row.
    largest.set(lowest);
    const keep = (isWhole: boolean) => {
      write(isWhole, value);
      largest.set(f32x4.pmax(largest, value));
    };
    code.if(
      mask,
      () => {
        const outer = i32.mul(i32.div_u(row, maskOuter), maskInner);
        const maskRow = i32.add(outer, i32.rem_u(row, maskInner));
        masked.set(i32.add(mask, i32.mul(maskRow, rowBytes)));
        forElements(code, length, 4, moving(from, to, masked), (isWhole) => {
          value.set(f32x4.add(f32x4.mul(read(isWhole, from), factor), read(isWhole, masked)));
          keep(isWhole);
        });
      },
      () =>
        forElements(code, length, 4, moving(from, to), (isWhole) => {
          value.set(f32x4.mul(read(isWhole, from), factor));
          keep(isWhole);
        }),
    );
    back();
    largest.set(f32x4.pmax(largest, highHalf(largest)));
    largest.set(
      f32x4.splat(f32.max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1))),
    );
    sum.clear();
    forElements(code, length, 4, moving(to), (isWhole) => {
      value.set(f32x4.sub(read(isWhole, to), largest));
      term.set(exp(value));
      write(isWhole, isLog ? value : term);
      if (isWhole) sum.add(term);
      else sum.addOne(term);
    });
    back();
    const pairs = f64x2.add(sum.low, sum.high);
    term.set(pairs);
    const total = f64.add(f64x2.extract_lane(term, 0), f64x2.extract_lane(term, 1));
    if (log) {
      term.set(log(f32x4.splat(f32.demote_f64(total))));
      forElements(code, length, 4, moving(to), (isWhole) =>
        write(isWhole, f32x4.sub(read(isWhole, to), term)),
      );
    } else {
      term.set(f32x4.splat(f32.demote_f64(f64.div(f64.const(1), total))));
      forElements(code, length, 4, moving(to), (isWhole) =>
        write(isWhole, f32x4.mul(read(isWhole, to), term)),
      );
    }
  });
}

function buildColumns(code: KernelCode<typeof softmaxColumnFields>, isLog: boolean): void {
  const { input, output, length, inner } = code.fields;
  const exp = prepareExp(code);
  const log = isLog ? prepareLog(code) : undefined;
  const sum = prepareSum(code);
  const lowest = constant(code, Number.NEGATIVE_INFINITY);
  const tile = i32.const(softmaxItemColumns);
  const tiles = code.local("i32", i32.div_u(i32.add(inner, i32.sub(tile, i32.const(1))), tile));
  const stride = code.local("i32", i32.mul(inner, i32.const(4)));
  const [outer, column, from, to, at, put, left] = code.locals(7, "i32");
  const [largest, value, term] = code.locals(3, "v128");
  const overLength = (body: () => void) => {
    at.set(from);
    put.set(to);
    left.set(length);
    code.while(i32.gt_s(left, i32.const(0)), () => {
      body();
      code.advance(at, stride);
      code.advance(put, stride);
      code.advance(left, -1);
    });
  };
  code.for(code.begin, code.end, 1, (item) => {
    outer.set(i32.div_u(item, tiles));
    column.set(i32.mul(i32.sub(item, i32.mul(outer, tiles)), tile));
    const width = smaller(code, i32.sub(inner, column), tile);
    const offset = i32.add(i32.mul(i32.mul(outer, length), stride), i32.mul(column, i32.const(4)));
    from.set(i32.add(input, offset));
    to.set(i32.add(output, offset));
    const pointers = [from, to].map((pointer) => ({ pointer, bytes: 4 }));
    forElements(code, width, 4, pointers, (isWhole) => {
      const read = (address: I32) => (isWhole ? v128.load(address) : v128.load32_splat(address));
      const write = (stored: V128) =>
        code.do(isWhole ? v128.store(put, stored) : v128.store32_lane(put, stored, 0));
      largest.set(lowest);
      overLength(() => largest.set(f32x4.pmax(largest, read(at))));
      sum.clear();
      overLength(() => {
        value.set(f32x4.sub(read(at), largest));
        term.set(exp(value));
        write(isLog ? value : term);
        sum.add(term);
      });
      value.set(lowHalves(f32x4.demote_f64x2_zero(sum.low), f32x4.demote_f64x2_zero(sum.high)));
      if (log) value.set(log(value));
      overLength(() => write((isLog ? f32x4.sub : f32x4.div)(read(put), value)));
    });
  });
}

function rowKernel(name: SoftmaxName): SoftmaxKernel {
  return defineKernel({
    name: `f32-${name}-simd128`,
    isa: "simd128",
    fields: softmaxFields,
    item: "row",
    build: (code) => buildRows(code, name === "log-softmax"),
  });
}

function columnKernel(name: SoftmaxName): SoftmaxColumnKernel {
  return defineKernel({
    name: `f32-${name}-columns-simd128`,
    isa: "simd128",
    fields: softmaxColumnFields,
    item: "16 columns of one outer index",
    build: (code) => buildColumns(code, name === "log-softmax"),
  });
}

/**
 * softmax: e^(t − max t) / Σ e^(t − max t) of each row, t = scale · x + mask; log-softmax: its logarithm.
 *
 * Numerics: sums in float64; softmax within 6·2⁻²³ relative for the t as rounded to float32, log-softmax within
 *   4·2⁻²³·(|result| + 1 + |max t|). A row of −∞ alone, or with a NaN, gives NaN.
 */
export const softmaxKernels: Readonly<Record<SoftmaxName, SoftmaxKernel>> = {
  softmax: rowKernel("softmax"),
  "log-softmax": rowKernel("log-softmax"),
};

/** The same over the middle axis of [outer, length, inner], without scale and mask. */
export const softmaxColumnKernels: Readonly<Record<SoftmaxName, SoftmaxColumnKernel>> = {
  softmax: columnKernel("softmax"),
  "log-softmax": columnKernel("log-softmax"),
};

export interface SoftmaxPlan {
  readonly items: number;
  readonly values: Omit<FieldValues<typeof softmaxFields>, "input" | "output" | "mask">;
}

/**
 * @param shape - of the input; the last axis is normalised.
 * @param maskShape - broadcasts to `shape` with its full last axis.
 * @returns undefined if the mask repeats in a way that no pair of counts describes: add it with a binary kernel first.
 */
export function planSoftmax(
  shape: readonly number[],
  scale = 1,
  maskShape?: readonly number[],
): SoftmaxPlan | undefined {
  const length = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((total, size) => total * size, 1);
  const mask = maskShape ? maskRows(shape, maskShape) : { maskOuter: 1, maskInner: 1 };
  return mask && { items: rows, values: { ...mask, length, scale } };
}

/** Mask rows as [outer, repeated, inner]: outer and inner axes are the mask's own, those between repeat. */
function maskRows(shape: readonly number[], maskShape: readonly number[]) {
  const length = shape.at(-1) ?? 1;
  if (maskShape.at(-1) !== length || maskShape.length > shape.length) return undefined;
  const sizes = shape.slice(0, -1);
  const missing = shape.length - maskShape.length;
  const own = sizes.map((_, axis) => (axis < missing ? 1 : maskShape[axis - missing]));
  const counted = sizes.map((_, axis) => axis).filter((axis) => sizes[axis] !== 1);
  if (counted.some((axis) => own[axis] !== 1 && own[axis] !== sizes[axis])) return undefined;
  const repeats = (axis: number) => own[axis] === 1;
  const first = counted.findIndex(repeats);
  const last = counted.findLastIndex(repeats);
  if (!counted.slice(Math.max(first, 0), last + 1).every(repeats)) return undefined;
  const product = (axes: readonly number[]) =>
    Math.max(
      1,
      axes.reduce((total, axis) => total * sizes[axis], 1),
    );
  return {
    maskOuter: product(counted.slice(Math.max(first, 0))),
    maskInner: product(counted.slice(last + 1)),
  };
}

export interface SoftmaxColumnPlan {
  readonly items: number;
  readonly values: Omit<FieldValues<typeof softmaxColumnFields>, "input" | "output">;
}

export function planSoftmaxColumns(
  outer: number,
  length: number,
  inner: number,
): SoftmaxColumnPlan {
  return {
    items: outer * Math.ceil(inner / softmaxItemColumns),
    values: { length, inner },
  };
}
