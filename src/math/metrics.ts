/**
 * Distances between vectors and between rankings. Pure functions; float64 sums in index order.
 * Not here: task metrics such as perplexity (`evaluate/`). Invariant: both arguments have the same length.
 */
import { invariant } from "../core/errors.ts";

/** Numbers to compare. */
export type Vector = ArrayLike<number>;

function checkLengths(a: Vector, b: Vector): void {
  invariant(a.length === b.length, `vectors of ${a.length} and ${b.length} elements compared`);
}

/** Σ v². */
function energy(v: Vector): number {
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i] * v[i];
  return sum;
}

/**
 * Summed squared error, not divided by the number of elements: Σ (a_i − b_i)².
 *
 * Numerics: float64; NaN in an argument gives NaN.
 */
export function mseSum(a: Vector, b: Vector): number {
  checkLengths(a, b);
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = a[i] - b[i];
    sum += difference * difference;
  }
  return sum;
}

/**
 * Signal-to-quantization-noise ratio in dB: 10 · log₁₀(Σ reference² / Σ (reference − approximation)²).
 *
 * Numerics: +Infinity without any error (even for a reference of zeros), −Infinity for zeros approximated wrongly.
 */
export function sqnrDb(reference: Vector, approximation: Vector): number {
  const noise = mseSum(reference, approximation);
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(energy(reference) / noise);
}

/**
 * Relative L2 error: ‖reference − approximation‖ / ‖reference‖.
 *
 * Numerics: 0 without any error, +Infinity for zeros approximated wrongly.
 */
export function relativeError(reference: Vector, approximation: Vector): number {
  const noise = mseSum(reference, approximation);
  return noise === 0 ? 0 : Math.sqrt(noise / energy(reference));
}

/** Cosine of the angle between two vectors, −1 .. 1: a·b / (‖a‖ ‖b‖); 0 when a norm is 0. */
export function cosine(a: Vector, b: Vector): number {
  checkLengths(a, b);
  let dot = 0;
  for (let i = 0; i < a.length; i++) dot += a[i] * b[i];
  const norms = Math.sqrt(energy(a)) * Math.sqrt(energy(b));
  return norms === 0 ? 0 : Math.max(-1, Math.min(1, dot / norms));
}

/**
 * Spearman rank correlation, −1 .. 1: the Pearson correlation of the ranks, equal values sharing their average rank.
 *
 * Cost: O(n log n).
 * Numerics: 0 when one side is constant or has fewer than two elements.
 */
export function spearman(a: Vector, b: Vector): number {
  checkLengths(a, b);
  const mean = (a.length + 1) / 2;
  return cosine(
    averageRanks(a).map((rank) => rank - mean),
    averageRanks(b).map((rank) => rank - mean),
  );
}

/** Ranks from 1; equal values get the mean of the ranks they occupy. */
function averageRanks(values: Vector): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i);
  order.sort((i, j) => values[i] - values[j]);
  const ranks = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let i = start; i < end; i++) ranks[order[i]] = (start + 1 + end) / 2;
    start = end;
  }
  return ranks;
}
