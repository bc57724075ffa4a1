/**
 * Grids: the scale and zero point that one block of weights is rounded to.
 * Not here: which codes a quantizer picks on a grid (`rtn.ts`, `gptq.ts`), except the plain rounding both share.
 * Invariant: a scale is a value of the format's scale type before any code is chosen with it.
 */
import type { WeightFormat } from "../core/format.ts";
import { roundToFloat16 } from "../core/tensor.ts";

const largestFloat16 = 65504;

/** The grids of a whole matrix, as `QuantizedTensor` stores them. */
export interface Grids {
  /** float32 [N, B], values of the format's scale type; 0 for a block of zeros; may be negative. */
  readonly scales: Float32Array;
  /** uint8 [N, B], 0 .. 2^bits − 1, also for symmetric formats. */
  readonly zeroPoints: Uint8Array;
}

/** One grid: `ŵ = scale · (code − zeroPoint)`. */
export interface Grid {
  scale: number;
  zeroPoint: number;
}

/** The part of a format that the grid of one block depends on. */
export type GridRule = Pick<WeightFormat, "bits" | "symmetric" | "scaleType">;

/**
 * Rounds to the nearest integer, ties to the even one, for |x| < 2⁵¹.
 * Adding 1.5 · 2⁵² leaves no fraction bits, so the float adder does the rounding; far cheaper than Math.round.
 */
export function roundHalfEven(x: number): number {
  return x + 6755399441055744 - 6755399441055744;
}

/**
 * The code of one weight on one grid: `clip(round(w / scale) + zeroPoint, 0, highest)`.
 *
 * Numerics: float64 division, ties to even, so a value on the grid keeps its code; scale 0 gives the zero point.
 */
export function encode(w: number, scale: number, zeroPoint: number, highest: number): number {
  if (scale === 0) return zeroPoint;
  const x = w / scale;
  const low = -zeroPoint;
  const high = highest - zeroPoint;
  // Clipping first keeps huge quotients (and infinities) inside what roundHalfEven can do.
  return roundHalfEven(Math.max(low, Math.min(high, x))) + zeroPoint;
}

/** The value of the scale type nearest to `scale`; float16 saturates at ±65504 instead of overflowing. */
export function roundScale(scale: number, scaleType: "float32" | "float16"): number {
  if (scaleType === "float32") return Math.fround(scale);
  const clipped = Math.max(-largestFloat16, Math.min(largestFloat16, Math.fround(scale)));
  return roundToFloat16(clipped);
}

/**
 * Plain grid of a block, not yet rounded to the scale type.
 *
 *   asymmetric: lo = min(0, min w), hi = max(0, max w), s = (hi − lo) / (2^b − 1)
 *   symmetric:  s = −w_max / 2^(b−1), w_max the signed element of largest magnitude (the first one on a tie)
 *
 * The symmetric rule maps w_max to code 0 exactly, so all 2^b codes are used and s may be negative.
 *
 * @param values - block elements, `count` of them from index `start`.
 * @returns s; 0 for a block of zeros.
 *
 * Source: the asymmetric rule is GPTQ's; the signed rule is that of llama.cpp's Q4_0.
 */
export function minMaxScale(
  values: Float32Array | Float64Array,
  start: number,
  count: number,
  bits: number,
  symmetric: boolean,
): number {
  let low = 0;
  let high = 0;
  let lowAt = 0;
  let highAt = 0;
  for (let i = start; i < start + count; i++) {
    const w = values[i];
    if (w < low) {
      low = w;
      lowAt = i;
    } else if (w > high) {
      high = w;
      highAt = i;
    }
  }
  if (!symmetric) return (high - low) / (2 ** bits - 1);
  const lowWins = -low > high || (-low === high && lowAt < highAt);
  const extreme = lowWins ? low : high;
  return extreme === 0 ? 0 : -extreme / 2 ** (bits - 1);
}

/** The `min-max` grid of one block, rounded to the scale type; the zero point follows the rounded scale. */
export function minMaxGrid(
  values: Float32Array | Float64Array,
  start: number,
  count: number,
  rule: GridRule,
  grid: Grid,
): void {
  const { bits, symmetric } = rule;
  // A scale that underflows is 0, not −0.
  const scale = roundScale(minMaxScale(values, start, count, bits, symmetric), rule.scaleType) + 0;
  grid.scale = scale;
  if (symmetric) {
    grid.zeroPoint = 2 ** (bits - 1);
  } else {
    let low = 0;
    for (let i = start; i < start + count; i++) if (values[i] < low) low = values[i];
    grid.zeroPoint = encode(-low, scale, 0, 2 ** bits - 1);
  }
}
