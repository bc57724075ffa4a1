/**
 * The two ways to multiply codes with activations, one per instruction set. They differ in the width of a lane, the
 * dot-product instruction and the size of a tile; everything else is generated from the same code.
 */
import { f32x4, i16x8, i32x4, type V128 } from "../assembler/index.ts";
import type { Isa } from "../kernel.ts";

/** Type of the quantized activations. */
export type ActivationType = "int8" | "int16";

export interface Arithmetic {
  readonly activation: ActivationType;
  readonly isa: Isa;
  /** Letters of the kernel names. */
  readonly letters: "qd8" | "qd16";
  /** Bits of one code in the unpacked form. */
  readonly laneBits: 8 | 16;
  /** Consecutive k that one 32-bit lane holds: the dot product adds them up. */
  readonly codesPerLane: 4 | 2;
  /** Largest quantized activation. */
  readonly limit: 127 | 32767;
  /** Rows of a full GEMM tile; the tile is 8 columns wide. */
  readonly tileRows: 6 | 4;
  /** sum + Σ activation · code over the k of each 32-bit lane. */
  dot(activations: V128, codes: V128, sum: V128): V128;
  /** zero point · (negated) sum of activations, per 32-bit lane; zero points are 0..255. */
  correction(zeroPoints: V128, sums: V128): V128;
  multiplyAdd(a: V128, b: V128, c: V128): V128;
}

/**
 * int8 activations: the code is the 7-bit operand of the dot product, the activation the signed one, which stays
 * inside the contract of the instruction for codes up to 127. Codes of 8 bits need an engine whose second operand is
 * unsigned (x86 VNNI; `availableTiers` probes it).
 */
const int8: Arithmetic = {
  activation: "int8",
  isa: "relaxed-simd",
  letters: "qd8",
  laneBits: 8,
  codesPerLane: 4,
  limit: 127,
  tileRows: 6,
  dot: (activations, codes, sum) => i32x4.relaxed_dot_i8x16_i7x16_add_s(activations, codes, sum),
  // |sum| ≤ 128 · 127 fits the low 16 bits, and the high half of a zero point is 0: one instruction instead of the
  // slow 32-bit product.
  correction: (zeroPoints, sums) => i32x4.dot_i16x8_s(zeroPoints, sums),
  multiplyAdd: (a, b, c) => f32x4.relaxed_madd(a, b, c),
};

/** int16 activations: |activation · code| · 128 < 2^31 for 8-bit codes, so 32-bit sums of a block never overflow. */
const int16: Arithmetic = {
  activation: "int16",
  isa: "simd128",
  letters: "qd16",
  laneBits: 16,
  codesPerLane: 2,
  limit: 32767,
  tileRows: 4,
  dot: (activations, codes, sum) => i32x4.add(i32x4.dot_i16x8_s(activations, codes), sum),
  correction: (zeroPoints, sums) => i32x4.mul(zeroPoints, sums),
  multiplyAdd: (a, b, c) => f32x4.add(f32x4.mul(a, b), c),
};

export const arithmetics: Readonly<Record<ActivationType, Arithmetic>> = { int8, int16 };

/** Lanes of the unpacked form, widened to 16 bits with zeros: eight codes of the low half. */
export const widenedLow = (arithmetic: Arithmetic, codes: V128): V128 =>
  arithmetic.laneBits === 8 ? i16x8.extend_low_i8x16_u(codes) : codes;
