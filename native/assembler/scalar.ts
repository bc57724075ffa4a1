/**
 * Scalar instructions, named as in the WebAssembly specification: `i32.add(a, b)`, `f32.load(address, offset)`.
 */
import { type Expression, expression, type I32, signed, type ValueType } from "./expression.ts";
import { binaries, loads, operand, plain, stores, unaries } from "./instruction.ts";

const float32Bytes = (value: number) => [...new Uint8Array(Float32Array.of(value).buffer)];
const float64Bytes = (value: number) => [...new Uint8Array(Float64Array.of(value).buffer)];

export const i32 = {
  const: (value: number) => expression("i32", 0x41, signed(value | 0)),
  ...loads("i32", plain, {
    load: [0x28, 2],
    load8_s: [0x2c, 0],
    load8_u: [0x2d, 0],
    load16_s: [0x2e, 1],
    load16_u: [0x2f, 1],
  }),
  ...stores("i32", plain, { store: [0x36, 2], store8: [0x3a, 0], store16: [0x3b, 1] }),
  ...unaries("i32", "i32", plain, { eqz: 0x45, clz: 0x67, ctz: 0x68, popcnt: 0x69 }),
  ...unaries("f32", "i32", plain, { reinterpret_f32: 0xbc }),
  ...unaries("f32", "i32", (n) => [0xfc, n], { trunc_sat_f32_s: 0, trunc_sat_f32_u: 1 }),
  ...unaries("f64", "i32", (n) => [0xfc, n], { trunc_sat_f64_s: 2, trunc_sat_f64_u: 3 }),
  ...unaries("i64", "i32", plain, { wrap_i64: 0xa7 }),
  ...binaries("i32", "i32", plain, {
    eq: 0x46,
    ne: 0x47,
    lt_s: 0x48,
    lt_u: 0x49,
    gt_s: 0x4a,
    gt_u: 0x4b,
    le_s: 0x4c,
    le_u: 0x4d,
    ge_s: 0x4e,
    ge_u: 0x4f,
    add: 0x6a,
    sub: 0x6b,
    mul: 0x6c,
    div_s: 0x6d,
    div_u: 0x6e,
    rem_s: 0x6f,
    rem_u: 0x70,
    and: 0x71,
    or: 0x72,
    xor: 0x73,
    shl: 0x74,
    shr_s: 0x75,
    shr_u: 0x76,
  }),
} as const;

export const i64 = {
  const: (value: bigint) => expression("i64", 0x42, signed(BigInt.asIntN(64, value))),
  ...loads("i64", plain, { load: [0x29, 3] }),
  ...stores("i64", plain, { store: [0x37, 3] }),
  ...unaries("i32", "i64", plain, { extend_i32_s: 0xac, extend_i32_u: 0xad }),
  ...binaries("i64", "i64", plain, { add: 0x7c, sub: 0x7d, mul: 0x7e }),
} as const;

export const f32 = {
  const: (value: number) => expression("f32", 0x43, float32Bytes(value)),
  ...loads("f32", plain, { load: [0x2a, 2] }),
  ...stores("f32", plain, { store: [0x38, 2] }),
  ...unaries("f32", "f32", plain, {
    abs: 0x8b,
    neg: 0x8c,
    ceil: 0x8d,
    floor: 0x8e,
    trunc: 0x8f,
    nearest: 0x90,
    sqrt: 0x91,
  }),
  ...unaries("i32", "f32", plain, {
    convert_i32_s: 0xb2,
    convert_i32_u: 0xb3,
    reinterpret_i32: 0xbe,
  }),
  ...unaries("f64", "f32", plain, { demote_f64: 0xb6 }),
  ...binaries("f32", "f32", plain, {
    add: 0x92,
    sub: 0x93,
    mul: 0x94,
    div: 0x95,
    min: 0x96,
    max: 0x97,
    copysign: 0x98,
  }),
  ...binaries("f32", "i32", plain, {
    eq: 0x5b,
    ne: 0x5c,
    lt: 0x5d,
    gt: 0x5e,
    le: 0x5f,
    ge: 0x60,
  }),
} as const;

export const f64 = {
  const: (value: number) => expression("f64", 0x44, float64Bytes(value)),
  ...loads("f64", plain, { load: [0x2b, 3] }),
  ...stores("f64", plain, { store: [0x39, 3] }),
  ...unaries("f64", "f64", plain, {
    abs: 0x99,
    neg: 0x9a,
    floor: 0x9c,
    trunc: 0x9d,
    nearest: 0x9e,
    sqrt: 0x9f,
  }),
  ...unaries("f32", "f64", plain, { promote_f32: 0xbb }),
  ...unaries("i32", "f64", plain, { convert_i32_s: 0xb7, convert_i32_u: 0xb8 }),
  ...binaries("f64", "f64", plain, {
    add: 0xa0,
    sub: 0xa1,
    mul: 0xa2,
    div: 0xa3,
    min: 0xa4,
    max: 0xa5,
  }),
  ...binaries("f64", "i32", plain, {
    eq: 0x61,
    ne: 0x62,
    lt: 0x63,
    gt: 0x64,
    le: 0x65,
    ge: 0x66,
  }),
} as const;

/** `whenTrue` if `condition` is not 0, else `whenFalse`; both are computed. */
export function select<T extends ValueType>(
  whenTrue: Expression<T>,
  whenFalse: Expression<T>,
  condition: I32,
): Expression<T> {
  const { type } = whenTrue;
  return expression(type, whenTrue.code, operand(whenFalse, type), operand(condition, "i32"), 0x1b);
}

export const memory = {
  /** Copies `bytes` bytes; the ranges may overlap. */
  copy: (to: I32, from: I32, bytes: I32) =>
    expression("void", ...[to, from, bytes].map((one) => operand(one, "i32")), [0xfc, 10, 0, 0]),
  /** Sets `bytes` bytes to the low byte of `value`. */
  fill: (to: I32, value: I32, bytes: I32) =>
    expression("void", ...[to, value, bytes].map((one) => operand(one, "i32")), [0xfc, 11, 0]),
} as const;
