/**
 * QEP: part of the ridge step towards the weights that undo the upstream error, then any quantizer.
 */
import type { Correction } from "../core/correction.ts";
import { ridgeShift, shifted } from "./ridge-shift.ts";

const parameters = { alpha: 0.5, damping: 1 };

/**
 * Quantization error propagation.
 *
 *   W* = W + α · W C (H + λI)⁻¹,   λ = damping · mean(diag H)
 *
 * Never raises J on the rows it was fitted on, for any α in 0 .. 1 (see `ridgeShift`).
 *
 * Cost: K³/3 + 4·N·K² operations.
 * Source: Arai & Ichikawa 2025 (QEP), section 5, proposition 5.3; defaults of the authors' code. Differs: no layer is
 *   left out by its name (their code skips down_proj).
 */
export const qep: Correction = {
  summary: "shift the weights part of the way to those that undo the upstream error",
  source: "Arai & Ichikawa 2025, QEP, proposition 5.3, and the authors' defaults",
  needs: ["streams"],
  parameters,
  async correct(problem) {
    const { weight, objective, options } = problem;
    const alpha = options.alpha ?? parameters.alpha;
    if (alpha === 0) return { target: weight, alpha: 0, damping: 0 };
    const { hessian } = objective.grams;
    const descent = await objective.descent();
    const requested = options.damping ?? parameters.damping;
    const { shift, damping } = await ridgeShift(problem, hessian, descent, requested);
    return { target: shifted(weight, shift, alpha), alpha, damping };
  },
};
