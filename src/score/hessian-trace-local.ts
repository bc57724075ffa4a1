/** HAWQ-V2's trace weighting with the layer-local Gauss–Newton Hessian: no gradient, no extra forward pass. */
import { defineScorer } from "../core/score.ts";
import { scoreEach, squaredDistance } from "./losses.ts";

/**
 * `loss = ½ · (tr(∇²L) / n) · ‖ΔW‖²` with L = E‖(Ŵ − W) x‖² and n = N·K. The Hessian of L is I_N ⊗ H, so that
 * `tr(∇²L) / n = tr(H) / K = (2 / K) Σ_k E[x_k²]` (the mean over its row groups); of a gathered table L = Σ_n p_n ‖ΔW_n‖² it is `2 / N` on average.
 * Both are added for a weight that is multiplied and gathered from.
 *
 * Cost: O(N·K) per format. Source: HAWQ-V2 (Dong et al. 2020), equation 5, the average trace times ‖ΔW‖². Ours: the
 * layer-local Hessian, and the ½ of the second-order term, which makes the loss an estimate of L itself.
 */
export const hessianTraceLocal = defineScorer({
  summary: "mean Hessian trace of the layer's own output error times ‖ΔW‖²",
  source: "Dong et al. 2020 (HAWQ-V2), equation 5, layer-local Gauss–Newton form",
  needs: ["meanSquare", "rowFrequency"],
  forward: false,
  work: { passes: 0, quantizes: false, judges: false },
  unit: "squared output error",
  score: (input) =>
    scoreEach(input, "rounded", ({ weight, quantized, stats }) => {
      const { meanSquare, rowFrequency } = stats;
      let curvature = 0;
      if (meanSquare)
        curvature += (2 * meanSquare.reduce((sum, value) => sum + value, 0)) / meanSquare.length;
      if (rowFrequency) curvature += 2 / weight.rows;
      return (curvature * squaredDistance(weight, quantized)) / 2;
    }),
});
