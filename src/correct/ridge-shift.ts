/**
 * The step from W to the damped minimiser of the layer's output error, which QEP, Qronos and `auto` share.
 * Not here: how much of it is taken. Invariant: the problem is not modified; notices go to its `onEvent`.
 */
import type { HessianFactor } from "../core/algebra.ts";
import type { CorrectProblem } from "../core/correction.ts";
import type { Matrix } from "../core/tensor.ts";

export interface RidgeShift {
  /** Δ = W C (H + λI)⁻¹, float64 [N, K]. */
  readonly shift: Float64Array;
  /** Relative damping that worked: λ = damping · mean(diag H). */
  readonly damping: number;
}

/**
 * The ridge step towards the minimiser of J, J(Ŵ) = (2/T) ‖X Wᵀ − X̂ Ŵᵀ‖².
 *
 *   Δ = W C (H + λI)⁻¹,   λ = damping · mean(diag H)
 *
 * For every λ ≥ 0, J(W + αΔ) ≤ J(W) − (2α − α²) tr(W C (H + λI)⁻¹ CᵀWᵀ): never above J(W) for α in 0 .. 2, and falling
 * all the way from α = 0 to 1, because (H + λI)⁻¹ H (H + λI)⁻¹ ⪯ (H + λI)⁻¹.
 *
 * @param hessian - H, float64 [K, K].
 * @param descent - W · C, float64 [N, K], zero in columns with H_kk = 0.
 *
 * Cost: K³/3 + 2·N·K² operations; 4·K² bytes and N·K float64 while it works.
 * Numerics: float64; columns with H_kk = 0 get exactly 0. A failed factorization raises λ tenfold, at most five times,
 *   each time with a `damping-raised` notice.
 * @throws numeric - no damping makes the Hessian positive definite.
 */
export async function ridgeShift(
  problem: CorrectProblem,
  hessian: Float64Array,
  descent: Float64Array,
  damping: number,
): Promise<RidgeShift> {
  const { algebra, weight } = problem;
  const factor = await factorWithNotices(problem, hessian, damping, false);
  try {
    const shift = await algebra.solve(factor, descent, weight.rows, "R Rᵀ");
    return { shift, damping: factor.damping };
  } finally {
    factor.release();
  }
}

/**
 * Takes part of a step: `target = weight + alpha · shift`.
 *
 * @param weight - float32 [N, K]; not modified.
 * @param shift - float64 [N, K].
 * @returns float32 [N, K]; the weight itself for alpha = 0.
 * Numerics: one rounding to float32; where the step is 0 the weight keeps its bits, the sign of zero included.
 */
export function shifted(weight: Matrix, shift: Float64Array, alpha: number): Matrix {
  if (alpha === 0) return weight;
  const data = weight.data.slice();
  for (let i = 0; i < data.length; i++) {
    const step = alpha * shift[i];
    if (step !== 0) data[i] += step;
  }
  return { ...weight, data };
}

/** R of H + λI, to be released; one `damping-raised` notice per damping tried after the requested one failed. */
export async function factorWithNotices(
  problem: CorrectProblem,
  hessian: Float64Array,
  damping: number,
  activationOrder: boolean,
): Promise<HessianFactor> {
  const { algebra, layer, options } = problem;
  const factor = await algebra.factor(hessian, { damping, activationOrder, layer });
  for (const raised of factor.raised) {
    options.onEvent?.({
      type: "notice",
      notice: {
        code: "damping-raised",
        message: `Hessian of "${layer}" not positive definite: damping of its correction raised to ${raised}.`,
        layer,
      },
    });
  }
  return factor;
}
