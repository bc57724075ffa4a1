/**
 * Reductions of float32 over one axis of [outer, reduced, inner]; several axes are one after merging, or several calls.
 * Sums are float64, so the result is that of exact arithmetic rounded once, apart from terms of 2⁻⁵³.
 */
import {
  type FunctionBuilder,
  f32x4,
  f64x2,
  type I32,
  i32,
  i32x4,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { constant, doubleConstant, forElements, highHalf, lowHalves, smaller } from "./elements.ts";

/** Addresses in bytes; input [outer, reduced, inner], output [outer, inner]. */
export const reduceFields = {
  input: "i32",
  output: "i32",
  reduced: "i32",
  inner: "i32",
} as const;

/** Columns of one item where inner > 1. */
export const reduceItemColumns = 16;

/** A fold over four lanes at a time: of neighbours in a row, or of four columns. */
interface Fold {
  start(): void;
  /** Takes four elements. */
  add(x: V128): void;
  /** Takes lane 0 alone; the others hold the same element. */
  addOne(x: V128): void;
  /** Brings all lanes together in lane 0; for a row. */
  combine(): void;
  /** The result from the lanes, float32. */
  finish(count: I32): V128;
}

type PrepareFold = (code: FunctionBuilder) => Fold;

/** Σ or Π in float64 of `term(x)`, taken in float64. */
function doubleFold(
  code: FunctionBuilder,
  operation: (a: V128, b: V128) => V128,
  neutral: number,
  term: (x: V128) => V128,
  finish: (total: V128, count: I32) => V128,
): Fold {
  const initial = doubleConstant(code, neutral);
  const [low, high, given] = code.locals(3, "v128");
  const firstLaneOnly = code.local(
    "v128",
    v128.const([...Array(8).fill(255), ...Array(8).fill(0)]),
  );
  return {
    start: () => {
      low.set(initial);
      high.set(initial);
    },
    add: (x) => {
      given.set(x);
      low.set(operation(low, term(f64x2.promote_low_f32x4(given))));
      high.set(operation(high, term(f64x2.promote_low_f32x4(highHalf(given)))));
    },
    addOne: (x) => {
      const next = term(f64x2.promote_low_f32x4(x));
      low.set(operation(low, v128.bitselect(next, initial, firstLaneOnly)));
    },
    combine: () => {
      low.set(operation(low, high));
      low.set(operation(low, highHalf(low)));
    },
    finish: (count) => {
      const part = (total: V128) => f32x4.demote_f64x2_zero(finish(total, count));
      return lowHalves(part(low), part(high));
    },
  };
}

/**
 * The largest or smallest; NaN wins. The comparison passes over NaN and a mask keeps it, because `f32x4.max`, which
 * would spread it, takes ten times as long as `f32x4.pmax`.
 */
function extremeFold(
  code: FunctionBuilder,
  operation: (a: V128, b: V128) => V128,
  neutral: number,
): Fold {
  const initial = constant(code, neutral);
  const [best, given, unordered] = code.locals(3, "v128");
  const add = (x: V128) => {
    given.set(x);
    best.set(operation(best, given));
    unordered.set(v128.or(unordered, f32x4.ne(given, given)));
  };
  const nextLane = (x: V128) => f32x4.splat(f32x4.extract_lane(x, 1));
  return {
    start: () => {
      best.set(initial);
      unordered.set(v128.zero());
    },
    add,
    addOne: add,
    combine: () => {
      best.set(operation(best, highHalf(best)));
      best.set(operation(best, nextLane(best)));
      unordered.set(i32x4.splat(i32.sub(i32.const(0), v128.any_true(unordered))));
    },
    finish: () => v128.or(best, unordered),
  };
}

const same = (x: V128) => x;
const squared = (x: V128) => f64x2.mul(x, x);
const divided = (total: V128, count: I32) =>
  f64x2.div(total, f64x2.convert_low_i32x4_s(i32x4.splat(count)));

/** The folds, by the names of their kernels. */
const folds = {
  sum: (code) => doubleFold(code, f64x2.add, 0, same, same),
  mean: (code) => doubleFold(code, f64x2.add, 0, same, divided),
  prod: (code) => doubleFold(code, f64x2.mul, 1, same, same),
  "sum-square": (code) => doubleFold(code, f64x2.add, 0, squared, same),
  /** Σ|x| */
  l1: (code) => doubleFold(code, f64x2.add, 0, f64x2.abs, same),
  /** √Σx² */
  l2: (code) => doubleFold(code, f64x2.add, 0, squared, f64x2.sqrt),
  max: (code) => extremeFold(code, f32x4.pmax, Number.NEGATIVE_INFINITY),
  min: (code) => extremeFold(code, f32x4.pmin, Number.POSITIVE_INFINITY),
} satisfies Readonly<Record<string, PrepareFold>>;

export type ReduceName = keyof typeof folds;
export type ReduceKernel = Kernel<typeof reduceFields>;

function reduceKernel(name: string, prepare: PrepareFold): ReduceKernel {
  return defineKernel({
    name: `f32-reduce-${name}-simd128`,
    isa: "simd128",
    fields: reduceFields,
    item: "row where inner is 1, else 16 columns of one outer index",
    build: (code) => buildReduce(code, prepare(code)),
  });
}

function buildReduce(code: KernelCode<typeof reduceFields>, fold: Fold): void {
  const { input, output, reduced, inner } = code.fields;
  const from = code.local("i32");
  code.if(
    i32.eq(inner, i32.const(1)),
    () => {
      from.set(i32.add(input, i32.mul(i32.mul(code.begin, reduced), i32.const(4))));
      code.advance(output, i32.mul(code.begin, i32.const(4)));
      code.for(code.begin, code.end, 1, () => {
        fold.start();
        forElements(code, reduced, 4, [{ pointer: from, bytes: 4 }], (isWhole) => {
          if (isWhole) fold.add(v128.load(from));
          else fold.addOne(v128.load32_splat(from));
        });
        fold.combine();
        code.do(v128.store32_lane(output, fold.finish(reduced), 0));
        code.advance(output, 4);
      });
    },
    () => buildColumns(code, fold),
  );
}

function buildColumns(code: KernelCode<typeof reduceFields>, fold: Fold): void {
  const { input, output, reduced, inner } = code.fields;
  const tile = i32.const(reduceItemColumns);
  const rowBytes = code.local("i32", i32.mul(inner, i32.const(4)));
  const tiles = code.local("i32", i32.div_u(i32.add(inner, i32.sub(tile, i32.const(1))), tile));
  const [outer, column, from, to, at, left] = code.locals(6, "i32");
  code.for(code.begin, code.end, 1, (item) => {
    outer.set(i32.div_u(item, tiles));
    column.set(i32.mul(i32.sub(item, i32.mul(outer, tiles)), tile));
    const width = smaller(code, i32.sub(inner, column), tile);
    const columnBytes = i32.mul(column, i32.const(4));
    from.set(i32.add(input, i32.add(i32.mul(i32.mul(outer, reduced), rowBytes), columnBytes)));
    to.set(i32.add(output, i32.add(i32.mul(outer, rowBytes), columnBytes)));
    const pointers = [from, to].map((pointer) => ({ pointer, bytes: 4 }));
    forElements(code, width, 4, pointers, (isWhole) => {
      fold.start();
      at.set(from);
      left.set(reduced);
      code.while(i32.gt_s(left, i32.const(0)), () => {
        fold.add(isWhole ? v128.load(at) : v128.load32_splat(at));
        code.advance(at, rowBytes);
        code.advance(left, -1);
      });
      const result = fold.finish(reduced);
      code.do(isWhole ? v128.store(to, result) : v128.store32_lane(to, result, 0));
    });
  });
}

/**
 * Every reduction, by name.
 *
 * Numerics: sum, mean, prod, sum-square, l1, l2 in float64: |error| ≤ 2⁻²⁴·|result| + n·2⁻⁵²·Σ|terms|.
 *   Nothing to reduce: 0 for sums, 1 for prod, NaN for mean, ∓∞ for max and min. NaN spreads.
 */
export const reduceKernels = Object.fromEntries(
  Object.entries(folds).map(([name, prepare]) => [name, reduceKernel(name, prepare)]),
) as Readonly<Record<ReduceName, ReduceKernel>>;

/** An array as [outer, reduced, inner]. */
export interface ReductionExtent {
  readonly outer: number;
  readonly reduced: number;
  readonly inner: number;
}

export interface ReducePlan {
  readonly items: number;
  readonly values: Omit<FieldValues<typeof reduceFields>, "input" | "output">;
}

export function planReduce({ outer, reduced, inner }: ReductionExtent): ReducePlan {
  const items = inner === 1 ? outer : outer * Math.ceil(inner / reduceItemColumns);
  return { items, values: { reduced, inner } };
}

/**
 * @param axes - 0 ≤ axis < rank, any order; none: all axes.
 * @returns undefined if axes of more than one element lie between the reduced ones: transpose first.
 */
export function reductionExtent(
  shape: readonly number[],
  axes: readonly number[],
): ReductionExtent | undefined {
  const isReduced = (axis: number) => axes.length === 0 || axes.includes(axis);
  const counted = shape.map((_, axis) => axis).filter((axis) => shape[axis] !== 1);
  const first = counted.findIndex(isReduced);
  if (first < 0) return { outer: product(shape), reduced: 1, inner: 1 };
  const last = counted.findLastIndex(isReduced);
  if (!counted.slice(first, last + 1).every(isReduced)) return undefined;
  const part = (from: number, to?: number) =>
    product(counted.slice(from, to).map((axis) => shape[axis]));
  return { outer: part(0, first), reduced: part(first, last + 1), inner: part(last + 1) };
}

const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
