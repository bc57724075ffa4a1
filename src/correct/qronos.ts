/**
 * Qronos: the whole step to the minimiser of the output error, with the first column chosen while the others stay.
 * Not here: the diffusion of rounding errors (GPTQ's column loop does it). Invariant: only the target is changed, so any
 * quantizer can follow.
 */
import type { CorrectedTarget, Correction, CorrectProblem } from "../core/correction.ts";
import { createRandom } from "../core/random.ts";
import { descendingDiagonal } from "../math/factor.ts";
import { factorWithNotices, shifted } from "./ridge-shift.ts";

const parameters = { damping: 1e-6 };
/** Power iterations for σ_max, as in the authors' code. */
const iterations = 30;

/**
 * The target of Qronos, p being the column rounded first and F the others:
 *
 *   d_p = (W C)_p / H_pp                                 best column p while the others stay at W
 *   Δ_F = ((W C)_F − d_p H_pF) (H + λI)_FF⁻¹             best other columns once column p is fixed
 *   W*  = W + [d_p, Δ_F],   λ = damping · σ_max(H)
 *
 * Both follow from the ridge step Δ over all columns: [d_p, Δ_F] = Δ + (d_p − Δ_p) · V_p / V_pp, V = (H + λI)⁻¹. GPTQ on
 * W* rounds column p to q_p and adds (w*_p − q_p) H_pF (H + λI)_FF⁻¹ to the others: the second line with q_p for w*_p,
 * which is the paper's step. Never raises J on the rows it was fitted on: the first line is an exact minimum along a
 * column, the second a damped Newton step from there.
 *
 * Cost: K³/3 + 4·N·K² operations.
 * Source: Zhang et al. 2026 (Qronos), algorithm 1, and Brevitas. Differs: written as a target, hence a quantizer that
 *   follows uses its own damping when it spreads rounding errors.
 * Numerics: σ_max by 30 power iterations from a fixed start, from below; H_pp = 0 leaves column p alone.
 */
async function correct(problem: CorrectProblem): Promise<CorrectedTarget> {
  const { algebra, weight, options, objective } = problem;
  const { rows, cols } = weight;
  const { hessian } = objective.grams;
  const relative = (options.damping ?? parameters.damping) * largestEigenvalue(hessian, cols);
  let trace = 0;
  for (let k = 0; k < cols; k++) trace += hessian[k * cols + k];
  const requested = trace === 0 ? 0 : (relative * cols) / trace;
  const descent = await objective.descent();
  const factor = await factorWithNotices(problem, hessian, requested, false);
  const { damping } = factor;
  const first = problem.activationOrder ? descendingDiagonal(hessian, cols)[0] : 0;
  try {
    const shift = await algebra.solve(factor, descent, rows, "R Rᵀ");
    const diagonal = hessian[first * cols + first];
    if (diagonal > 0) {
      const unit = Float64Array.from({ length: cols }, (_, k) => (k === first ? 1 : 0));
      const inverseRow = await algebra.solve(factor, unit, 1, "R Rᵀ");
      for (let n = 0; n < rows; n++) {
        const base = n * cols;
        const best = descent[base + first] / diagonal;
        const change = (best - shift[base + first]) / inverseRow[first];
        for (let k = 0; k < cols; k++) shift[base + k] += change * inverseRow[k];
      }
    }
    return { target: shifted(weight, shift, 1), alpha: 1, damping };
  } finally {
    factor.release();
  }
}

/**
 * Estimate of the largest eigenvalue of a symmetric positive semidefinite matrix, from below.
 *
 * Cost: 60 K² operations.
 * Numerics: float64, start vector of seeded normal numbers; 0 for a matrix of zeros.
 */
export function largestEigenvalue(matrix: Float64Array, size: number): number {
  const random = createRandom(1);
  let vector = Float64Array.from({ length: size }, () => random.normal());
  let estimate = 0;
  for (let step = 0; step < iterations; step++) {
    const length = norm(vector);
    if (length === 0) return 0;
    const next = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) next[i] += (matrix[i * size + j] * vector[j]) / length;
    }
    estimate = norm(next);
    vector = next;
  }
  return estimate;
}

function norm(vector: Float64Array): number {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}

export const qronos: Correction = {
  summary: "shift the weights all the way to those that undo the upstream error",
  source: "Zhang et al. 2026, Qronos, algorithm 1, and Brevitas",
  needs: ["streams"],
  parameters,
  correct,
};
