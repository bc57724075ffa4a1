/**
 * Dense products that stages need on weights and Hessians, accumulated in float64.
 * Not here: factorizations (`cholesky.ts`). Invariant: inputs are not modified, summation order is fixed.
 */
import { invariant } from "../core/errors.ts";
import type { Matrix } from "../core/tensor.ts";

/** Rows of the left factor that share one pass over the right factor; a multiple of four. */
const rowsPerPass = 32;

/**
 * Product of two dense matrices, for example W · C of a correction.
 *
 *   P_nj = Σ_k A_nk B_kj
 *
 * @param a - float32 or float64 [rows, inner] row-major.
 * @param b - float64 [inner, cols] row-major.
 * @returns float64 [rows, cols] row-major.
 *
 * Cost: rows · inner · cols multiply-adds, no memory beside the result.
 * Numerics: float64; four inner indices are added per pass, so sums associate in groups of four.
 */
export function product(
  a: Float32Array | Float64Array,
  b: Float64Array,
  rows: number,
  inner: number,
  cols: number,
): Float64Array {
  invariant(a.length === rows * inner && b.length === inner * cols, "product of unlike shapes");
  const result = new Float64Array(rows * cols);
  for (let rowStart = 0; rowStart < rows; rowStart += rowsPerPass) {
    const rowEnd = Math.min(rowStart + rowsPerPass, rows);
    for (let k = 0; k < inner; k += 4) {
      const b0 = k * cols;
      const b1 = Math.min(k + 1, inner - 1) * cols;
      const b2 = Math.min(k + 2, inner - 1) * cols;
      const b3 = Math.min(k + 3, inner - 1) * cols;
      const left = inner - k;
      for (let n = rowStart; n < rowEnd; n++) {
        const a0 = a[n * inner + k];
        const a1 = left > 1 ? a[n * inner + k + 1] : 0;
        const a2 = left > 2 ? a[n * inner + k + 2] : 0;
        const a3 = left > 3 ? a[n * inner + k + 3] : 0;
        const out = n * cols;
        for (let j = 0; j < cols; j++) {
          result[out + j] += a0 * b[b0 + j] + a1 * b[b1 + j] + (a2 * b[b2 + j] + a3 * b[b3 + j]);
        }
      }
    }
  }
  return result;
}

/**
 * Sum over rows of a quadratic form: the output error of a weight change.
 *
 *   tr(Δ H Δᵀ) = Σ_n Σ_k Δ_nk · (H_kk Δ_nk + 2 Σ_{j>k} H_kj Δ_nj)
 *
 * With `H = (2/T) XᵀX` this is twice the mean over calibration rows of ‖Δ x‖².
 *
 * @param delta - float32 [N, K], for example Ŵ − W.
 * @param hessian - float64 [K, K], symmetric; the upper triangle is read.
 *
 * Cost: N · K²/2 multiply-adds, 32 · K float64 of extra memory.
 * Numerics: float64. May come out below zero by rounding when H is singular; not clamped here.
 */
export function quadraticForm(delta: Matrix, hessian: Float64Array): number {
  const { rows, cols, data } = delta;
  invariant(hessian.length === cols * cols, "Hessian and weight disagree in K");
  // Rows past the end stay zero and add nothing, so each pass works on whole groups of four.
  const chunk = new Float64Array(rowsPerPass * cols);
  let total = 0;
  for (let start = 0; start < rows; start += rowsPerPass) {
    const count = Math.min(rowsPerPass, rows - start);
    chunk.fill(0);
    chunk.set(data.subarray(start * cols, (start + count) * cols));
    for (let k = 0; k < cols; k += 2) {
      for (let r = 0; r < count; r += 4) total += twoColumnTerms(chunk, r * cols, hessian, k, cols);
    }
  }
  return 2 * total;
}

/**
 * Σ over four rows and columns k, k + 1 of d_k · (H_kk d_k / 2 + Σ_{j>k} H_kj d_j).
 * Two Hessian rows against four weight rows: eight sums and six operands fit the sixteen float registers.
 */
function twoColumnTerms(
  chunk: Float64Array,
  base: number,
  hessian: Float64Array,
  k: number,
  cols: number,
): number {
  const d0 = base;
  const d1 = d0 + cols;
  const d2 = d1 + cols;
  const d3 = d2 + cols;
  const h0 = k * cols;
  const h1 = h0 + cols;
  const half = hessian[h0 + k] / 2;
  const x0 = chunk[d0 + k];
  const x1 = chunk[d1 + k];
  const x2 = chunk[d2 + k];
  const x3 = chunk[d3 + k];
  let s0 = half * x0;
  let s1 = half * x1;
  let s2 = half * x2;
  let s3 = half * x3;
  if (k + 1 === cols) return x0 * s0 + x1 * s1 + (x2 * s2 + x3 * s3);
  const cross = hessian[h0 + k + 1];
  const nextHalf = hessian[h1 + k + 1] / 2;
  const y0 = chunk[d0 + k + 1];
  const y1 = chunk[d1 + k + 1];
  const y2 = chunk[d2 + k + 1];
  const y3 = chunk[d3 + k + 1];
  s0 += cross * y0;
  s1 += cross * y1;
  s2 += cross * y2;
  s3 += cross * y3;
  let t0 = nextHalf * y0;
  let t1 = nextHalf * y1;
  let t2 = nextHalf * y2;
  let t3 = nextHalf * y3;
  for (let j = k + 2; j < cols; j++) {
    const a = hessian[h0 + j];
    const b = hessian[h1 + j];
    const z0 = chunk[d0 + j];
    const z1 = chunk[d1 + j];
    const z2 = chunk[d2 + j];
    const z3 = chunk[d3 + j];
    s0 += a * z0;
    s1 += a * z1;
    s2 += a * z2;
    s3 += a * z3;
    t0 += b * z0;
    t1 += b * z1;
    t2 += b * z2;
    t3 += b * z3;
  }
  return x0 * s0 + y0 * t0 + (x1 * s1 + y1 * t1) + (x2 * s2 + y2 * t2 + (x3 * s3 + y3 * t3));
}
