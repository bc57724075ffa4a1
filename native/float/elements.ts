/**
 * How a kernel walks elements of a type: whole vectors first, then the rest one by one with the same vector code, so
 * that a value does not depend on where it stands and nothing outside the array is read or written.
 */

import type { I32, Statement } from "../assembler/index.ts";
import {
  type FunctionBuilder,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";

/** Elements of one size in memory, as many as a vector holds. */
export interface ElementType {
  readonly bytes: number;
  readonly lanes: number;
  load(address: I32, offset?: number): V128;
  /** One element in every lane. */
  splat(address: I32): V128;
  store(address: I32, value: V128, offset?: number): Statement;
  /** Stores lane 0. */
  storeOne(address: I32, value: V128): Statement;
}

/** Four-byte elements: float32, int32, uint32. */
export const x32: ElementType = {
  bytes: 4,
  lanes: 4,
  load: v128.load,
  splat: (address) => v128.load32_splat(address),
  store: v128.store,
  storeOne: (address, value) => v128.store32_lane(address, value, 0),
};

/** Eight-byte elements: float64, in which the runtime also keeps int64. */
export const x64: ElementType = {
  bytes: 8,
  lanes: 2,
  load: v128.load,
  splat: (address) => v128.load64_splat(address),
  store: v128.store,
  storeOne: (address, value) => v128.store64_lane(address, value, 0),
};

/** One-byte elements: uint8, int8, bool. */
export const x8: ElementType = {
  bytes: 1,
  lanes: 16,
  load: v128.load,
  splat: (address) => v128.load8_splat(address),
  store: v128.store,
  storeOne: (address, value) => i32.store8(address, i8x16.extract_lane_u(value, 0)),
};

/** Takes the mask of four 32-bit lanes, stores bytes 0 or 1. */
export const truth32: ElementType = {
  ...x8,
  lanes: 4,
  store: (address, mask) => {
    const words = i16x8.narrow_i32x4_s(mask, mask);
    return v128.store32_lane(address, i8x16.neg(i8x16.narrow_i16x8_s(words, words)), 0);
  },
  storeOne: (address, mask) =>
    i32.store8(address, i32.and(i32x4.extract_lane(mask, 0), i32.const(1))),
};

/** Takes the mask of two 64-bit lanes, stores bytes 0 or 1. */
export const truth64: ElementType = {
  ...x8,
  lanes: 2,
  store: (address, mask) => {
    const words = i32.and(i32x4.extract_lane(mask, 0), i32.const(1));
    const high = i32.and(i32x4.extract_lane(mask, 2), i32.const(0x100));
    return i32.store16(address, i32.or(words, high));
  },
  storeOne: truth32.storeOne,
};

/** Takes the mask of sixteen 8-bit lanes, stores bytes 0 or 1. */
export const truth8: ElementType = {
  ...x8,
  store: (address, mask) => v128.store(address, i8x16.neg(mask)),
  storeOne: (address, mask) =>
    i32.store8(address, i32.and(i8x16.extract_lane_u(mask, 0), i32.const(1))),
};

/** A pointer that moves by `bytes` for every element. */
export interface MovingPointer {
  readonly pointer: Local<"i32">;
  readonly bytes: number;
}

/**
 * Runs the body for `count` elements and moves the pointers along.
 *
 * @param count - may be 0 or less: nothing is done.
 * @param body - writes the code of one step: of `lanes` elements, or (`isWhole` false) of a single one.
 */
export function forElements(
  code: FunctionBuilder,
  count: I32,
  lanes: number,
  pointers: readonly MovingPointer[],
  body: (isWhole: boolean) => void,
): void {
  const left = code.local("i32", count);
  const loop = (step: number) => {
    code.while(i32.ge_s(left, i32.const(step)), () => {
      body(step > 1);
      for (const { pointer, bytes } of pointers) code.advance(pointer, step * bytes);
      left.set(i32.sub(left, i32.const(step)));
    });
  };
  loop(lanes);
  if (lanes > 1) loop(1);
}

/** A float32 constant in all lanes, held in a variable so that loops do not build it again. */
export const constant = (code: FunctionBuilder, value: number): Local<"v128"> =>
  code.local(
    "v128",
    v128.const(new Uint8Array(Float32Array.of(value, value, value, value).buffer)),
  );

/** An int32 constant in all lanes, held in a variable. */
export const integerConstant = (code: FunctionBuilder, value: number): Local<"v128"> =>
  code.local("v128", v128.const(new Uint8Array(Int32Array.of(value, value, value, value).buffer)));

/** A float64 constant in both lanes, held in a variable. */
export const doubleConstant = (code: FunctionBuilder, value: number): Local<"v128"> =>
  code.local("v128", v128.const(new Uint8Array(Float64Array.of(value, value).buffer)));

/** The smaller of two signed integers; both are evaluated twice. */
export function smaller(code: FunctionBuilder, a: I32, b: I32): Local<"i32"> {
  const result = code.local("i32", a);
  code.if(i32.gt_s(result, b), () => result.set(b));
  return result;
}

/** Lanes 2 and 3 moved to lanes 0 and 1. */
export const highHalf = (x: V128): V128 =>
  i8x16.shuffle(x, x, [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]);

/** The low halves of two vectors side by side. */
export const lowHalves = (a: V128, b: V128): V128 =>
  i8x16.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);

/** (c0 + c1·x + c2·x² + …) by Horner's rule; `coefficients` are vectors, c0 first. */
export function polynomial(x: V128, coefficients: readonly V128[]): V128 {
  return coefficients
    .slice(0, -1)
    .reduceRight<V128>(
      (sum, coefficient) => f32x4.add(f32x4.mul(sum, x), coefficient),
      coefficients[coefficients.length - 1],
    );
}
