/**
 * GPTAQ: the upstream error of each column is moved onto the columns after it, while the quantizer walks over them.
 * Not here: the column loop (the quantizers'). Invariant: the feed is strictly upper triangular in rounding order.
 */
import type { Algebra } from "../core/algebra.ts";
import type { CorrectedTarget, Correction, CorrectProblem } from "../core/correction.ts";
import type { Matrix } from "../core/tensor.ts";
import { factorWithNotices } from "./ridge-shift.ts";

const parameters = { alpha: 0.25, damping: 0.01 };

/**
 * The feed of asymmetric calibration.
 *
 *   P = α · triu(C R⁻ᵀ, 1) · R⁻¹,   R Rᵀ = H + λI, R upper triangular,   λ = damping · mean(diag H)
 *
 * Row i is α · C_i,F (H + λI)_FF⁻¹ over the columns F after i: what those must add so that they make up for the drift
 * of input i. A column loop then does `W_:,j += w_i · P_ij` for j > i with w_i the column before rounding. A quantizer
 * without such a loop gets the loop's target at zero rounding error, W (I − P)⁻¹.
 * It may raise J: the drift of every input is made up for on its own, so drifts that cancel in the sum cancel no more.
 *
 * Cost: 2⅓ K³ operations, + N·K² for the folded target; 3 K² float64.
 * Source: Li et al. 2025 (GPTAQ), and the authors' defaults; they write U for R⁻¹. Differs: w_i is the column before
 *   rounding everywhere; their update of later column blocks takes rounded columns, unlike their inner loop.
 */
async function correct(problem: CorrectProblem): Promise<CorrectedTarget> {
  const { algebra, weight, activationOrder, options, takesFeed } = problem;
  const alpha = options.alpha ?? parameters.alpha;
  if (alpha === 0) return { target: weight, alpha: 0, damping: 0 };
  const { cols } = weight;
  const { hessian, drift } = problem.grams;
  const requested = options.damping ?? parameters.damping;
  const factor = await factorWithNotices(problem, hessian, requested, activationOrder);
  const { damping, order } = factor;
  try {
    const coupling = permutedDrift(drift, hessian, cols, order);
    const spread = await algebra.solve(factor, coupling, cols, "Rᵀ");
    for (let i = 0; i < cols; i++) {
      spread.fill(0, i * cols, i * cols + i + 1);
      for (let j = i + 1; j < cols; j++) spread[i * cols + j] *= alpha;
    }
    const feed = await algebra.solve(factor, spread, cols, "R");
    if (takesFeed) return { target: weight, feed, alpha, damping };
    return { target: await foldFeed(algebra, weight, feed, order), alpha, damping };
  } finally {
    factor.release();
  }
}

/** C in rounding order, columns with H_kk = 0 zeroed. */
function permutedDrift(
  drift: Float64Array,
  hessian: Float64Array,
  size: number,
  order: Int32Array | undefined,
): Float64Array {
  const result = new Float64Array(size * size);
  for (let j = 0; j < size; j++) {
    const column = order ? order[j] : j;
    if (hessian[column * size + column] === 0) continue;
    for (let i = 0; i < size; i++) {
      result[i * size + j] = drift[(order ? order[i] : i) * size + column];
    }
  }
  return result;
}

/** Columns that are folded one by one; what they add to the columns after them is one product. */
const foldedColumns = 64;

/**
 * The target that a column loop with a feed approaches when rounding makes no error.
 *
 *   t_j = w_j + Σ_{i<j} t_i P_ij,   that is T = W (I − P)⁻¹
 *
 * @param weight - float32 [N, K]; not modified.
 * @param feed - P, float64 [K, K], strictly upper triangular, in rounding order; not modified.
 * @param order - rounding order; undefined = column order.
 * @returns float32 [N, K].
 *
 * Cost: N·K² operations; N·K float64, 64·(N + K) while it works.
 * Numerics: float64 sums, one rounding to float32; a column that nothing is added to keeps its bits.
 */
export async function foldFeed(
  algebra: Algebra,
  weight: Matrix,
  feed: Float64Array,
  order: Int32Array | undefined,
): Promise<Matrix> {
  const { rows, cols } = weight;
  const data = weight.data.slice();
  const added = new Float64Array(rows * cols);
  for (let first = 0; first < cols; first += foldedColumns) {
    const end = Math.min(first + foldedColumns, cols);
    const width = end - first;
    const folded = new Float64Array(rows * width);
    for (let n = 0; n < rows; n++) {
      for (let i = first; i < end; i++) {
        const at = n * cols + (order ? order[i] : i);
        const more = added[n * cols + i];
        const value = weight.data[at] + more;
        if (more !== 0) data[at] = value;
        folded[n * width + i - first] = value;
        for (let j = i + 1; j < end; j++) added[n * cols + j] += value * feed[i * cols + j];
      }
    }
    const rest = cols - end;
    const block = new Float64Array(width * rest);
    for (let i = 0; i < width; i++) {
      const row = (first + i) * cols;
      block.set(feed.subarray(row + end, row + cols), i * rest);
    }
    const moved = await algebra.product(folded, block, rows, width, rest);
    for (let n = 0; n < rows; n++) {
      for (let j = 0; j < rest; j++) added[n * cols + end + j] += moved[n * rest + j];
    }
  }
  return { ...weight, data };
}

export const gptaq: Correction = {
  summary: "move the upstream error of each column onto the columns rounded after it",
  source: "Li et al. 2025, GPTAQ, and the authors' defaults",
  needs: ["streams"],
  parameters,
  correct,
};
