/**
 * Vector instructions of 128 bits, with the relaxed ones, named as in the WebAssembly specification.
 */
import { type Expression, expression, type I32, type V128, type ValueType } from "./expression.ts";
import {
  binaries,
  loads,
  mapTable,
  memoryArgument,
  operand,
  simd,
  stores,
  unaries,
} from "./instruction.ts";

type Lanes = 32 | 16 | 8 | 4 | 2;

/** Shifts: every lane by the same scalar count, modulo the lane width. */
const shifts = <const Name extends string>(table: Readonly<Record<Name, number>>) =>
  mapTable(
    table,
    (number) => (a: V128, count: I32 | number) =>
      expression(
        "v128",
        operand(a, "v128"),
        typeof count === "number" ? [0x41, count] : operand(count, "i32"),
        simd(number),
      ),
  );

const ternaries = <const Name extends string>(table: Readonly<Record<Name, number>>) =>
  mapTable(
    table,
    (number) => (a: V128, b: V128, c: V128) =>
      expression("v128", operand(a, "v128"), operand(b, "v128"), operand(c, "v128"), simd(number)),
  );

const extracts = <R extends ValueType, const Name extends string>(
  result: R,
  lanes: Lanes,
  table: Readonly<Record<Name, number>>,
) =>
  mapTable(
    table,
    (number) => (a: V128, lane: number) =>
      expression(result, operand(a, "v128"), simd(number), laneIndex(lane, lanes)),
  );

const replaces =
  <A extends ValueType>(value: A, lanes: Lanes, number: number) =>
  (a: V128, lane: number, x: Expression<A>) =>
    expression("v128", operand(a, "v128"), operand(x, value), simd(number), laneIndex(lane, lanes));

const storeLane =
  (number: number, lanes: Lanes) =>
  (address: I32, value: V128, lane: number, offset = 0) =>
    expression(
      "void",
      operand(address, "i32"),
      operand(value, "v128"),
      simd(number),
      memoryArgument(2, offset),
      laneIndex(lane, lanes),
    );

function laneIndex(lane: number, lanes: number): number {
  if (!Number.isInteger(lane) || lane < 0 || lane >= lanes) {
    throw new RangeError(`lane ${lane} of ${lanes}`);
  }
  return lane;
}

function constant(bytes: ArrayLike<number>): V128 {
  if (bytes.length !== 16) throw new RangeError(`a v128 has 16 bytes, got ${bytes.length}`);
  return expression("v128", simd(12), Array.from(bytes));
}

export const v128 = {
  /** 16 bytes, lane 0 first. */
  const: constant,
  zero: () => constant(new Uint8Array(16)),
  ...loads("v128", simd, {
    load: [0, 4],
    load8x8_s: [1, 3],
    load8x8_u: [2, 3],
    load16x4_s: [3, 3],
    load16x4_u: [4, 3],
    load32x2_s: [5, 3],
    load32x2_u: [6, 3],
    load8_splat: [7, 0],
    load16_splat: [8, 1],
    load32_splat: [9, 2],
    load64_splat: [10, 3],
    load32_zero: [92, 2],
    load64_zero: [93, 3],
  }),
  ...stores("v128", simd, { store: [11, 4] }),
  /** Stores one 32-bit lane. */
  store32_lane: storeLane(90, 4),
  /** Stores one 64-bit lane. */
  store64_lane: storeLane(91, 2),
  ...unaries("v128", "v128", simd, { not: 77 }),
  ...unaries("v128", "i32", simd, { any_true: 83 }),
  ...binaries("v128", "v128", simd, { and: 78, andnot: 79, or: 80, xor: 81 }),
  /** Bits of `a` where the mask is 1, of `b` where it is 0. */
  ...ternaries({ bitselect: 82 }),
} as const;

export const i8x16 = {
  /** 16 lanes out of the 32 of `a` and `b`. */
  shuffle: (a: V128, b: V128, lanes: readonly number[]) => {
    if (lanes.length !== 16) throw new RangeError(`shuffle takes 16 lanes, got ${lanes.length}`);
    const indices = lanes.map((lane) => laneIndex(lane, 32));
    return expression("v128", operand(a, "v128"), operand(b, "v128"), simd(13), indices);
  },
  ...unaries("i32", "v128", simd, { splat: 15 }),
  ...extracts("i32", 16, { extract_lane_s: 21, extract_lane_u: 22 }),
  replace_lane: replaces("i32", 16, 23),
  ...unaries("v128", "v128", simd, { abs: 96, neg: 97, popcnt: 98 }),
  ...unaries("v128", "i32", simd, { all_true: 99, bitmask: 100 }),
  ...shifts({ shl: 107, shr_s: 108, shr_u: 109 }),
  ...binaries("v128", "v128", simd, {
    swizzle: 14,
    relaxed_swizzle: 0x100,
    eq: 35,
    ne: 36,
    lt_s: 37,
    lt_u: 38,
    gt_s: 39,
    gt_u: 40,
    narrow_i16x8_s: 101,
    narrow_i16x8_u: 102,
    add: 110,
    add_sat_s: 111,
    add_sat_u: 112,
    sub: 113,
    sub_sat_s: 114,
    sub_sat_u: 115,
    min_s: 118,
    min_u: 119,
    max_s: 120,
    max_u: 121,
  }),
} as const;

export const i16x8 = {
  ...unaries("i32", "v128", simd, { splat: 16 }),
  ...extracts("i32", 8, { extract_lane_s: 24, extract_lane_u: 25 }),
  replace_lane: replaces("i32", 8, 26),
  ...unaries("v128", "v128", simd, {
    abs: 128,
    neg: 129,
    extend_low_i8x16_s: 135,
    extend_high_i8x16_s: 136,
    extend_low_i8x16_u: 137,
    extend_high_i8x16_u: 138,
    extadd_pairwise_i8x16_s: 124,
    extadd_pairwise_i8x16_u: 125,
  }),
  ...shifts({ shl: 139, shr_s: 140, shr_u: 141 }),
  ...binaries("v128", "v128", simd, {
    eq: 45,
    lt_s: 47,
    gt_s: 49,
    narrow_i32x4_s: 133,
    narrow_i32x4_u: 134,
    add: 142,
    add_sat_s: 143,
    sub: 145,
    mul: 149,
    min_s: 150,
    max_s: 152,
    extmul_low_i8x16_s: 156,
    extmul_high_i8x16_s: 157,
    extmul_low_i8x16_u: 158,
    extmul_high_i8x16_u: 159,
    q15mulr_sat_s: 130,
    relaxed_dot_i8x16_i7x16_s: 0x112,
  }),
} as const;

export const i32x4 = {
  ...unaries("i32", "v128", simd, { splat: 17 }),
  ...extracts("i32", 4, { extract_lane: 27 }),
  replace_lane: replaces("i32", 4, 28),
  ...unaries("v128", "v128", simd, {
    abs: 160,
    neg: 161,
    extend_low_i16x8_s: 167,
    extend_high_i16x8_s: 168,
    extend_low_i16x8_u: 169,
    extend_high_i16x8_u: 170,
    extadd_pairwise_i16x8_s: 126,
    extadd_pairwise_i16x8_u: 127,
    trunc_sat_f32x4_s: 248,
    trunc_sat_f32x4_u: 249,
    trunc_sat_f64x2_s_zero: 252,
  }),
  ...unaries("v128", "i32", simd, { all_true: 163, bitmask: 164 }),
  ...shifts({ shl: 171, shr_s: 172, shr_u: 173 }),
  ...binaries("v128", "v128", simd, {
    eq: 55,
    ne: 56,
    lt_s: 57,
    lt_u: 58,
    gt_s: 59,
    gt_u: 60,
    le_s: 61,
    ge_s: 63,
    add: 174,
    sub: 177,
    mul: 181,
    min_s: 182,
    min_u: 183,
    max_s: 184,
    max_u: 185,
    dot_i16x8_s: 186,
    extmul_low_i16x8_s: 188,
    extmul_high_i16x8_s: 189,
  }),
  /** c + Σ of four products a · b per lane; `b` within 0..127, or the result depends on the engine. */
  ...ternaries({ relaxed_dot_i8x16_i7x16_add_s: 0x113 }),
} as const;

export const f32x4 = {
  ...unaries("f32", "v128", simd, { splat: 19 }),
  ...extracts("f32", 4, { extract_lane: 31 }),
  replace_lane: replaces("f32", 4, 32),
  ...unaries("v128", "v128", simd, {
    ceil: 103,
    floor: 104,
    trunc: 105,
    nearest: 106,
    abs: 224,
    neg: 225,
    sqrt: 227,
    convert_i32x4_s: 250,
    convert_i32x4_u: 251,
    demote_f64x2_zero: 94,
  }),
  ...binaries("v128", "v128", simd, {
    eq: 65,
    ne: 66,
    lt: 67,
    gt: 68,
    le: 69,
    ge: 70,
    add: 228,
    sub: 229,
    mul: 230,
    div: 231,
    min: 232,
    max: 233,
    pmin: 234,
    pmax: 235,
  }),
  /** a · b + c, rounded once or twice as the engine likes. */
  ...ternaries({ relaxed_madd: 0x105, relaxed_nmadd: 0x106 }),
} as const;

export const f64x2 = {
  ...unaries("f64", "v128", simd, { splat: 20 }),
  ...extracts("f64", 2, { extract_lane: 33 }),
  ...unaries("v128", "v128", simd, {
    abs: 236,
    neg: 237,
    sqrt: 239,
    promote_low_f32x4: 95,
    convert_low_i32x4_s: 254,
  }),
  ...binaries("v128", "v128", simd, {
    eq: 71,
    ne: 72,
    lt: 73,
    gt: 74,
    le: 75,
    ge: 76,
    add: 240,
    sub: 241,
    mul: 242,
    div: 243,
    min: 244,
    max: 245,
    pmin: 246,
    pmax: 247,
  }),
} as const;
