/** HAWQ-V2's trace weighting with the layer-local Gauss–Newton Hessian: no gradient, no extra forward pass. */
import { defineScorer } from "../core/score.ts";
import { scoreEach, squaredDistance } from "./losses.ts";

/**
 * `loss = (tr(∇²L) / n) · ‖ΔW‖²` with L = E‖(Ŵ − W) x‖², whose Hessian is I_N ⊗ H: `tr / n = tr(H) / K`, n = N·K.
 * A gathered table adds `2 Σ_n p_n ‖ΔW_n‖² ≈ (2 / N) ‖ΔW‖²`.
 *
 * Cost: O(N·K) per format. Source: HAWQ-V2 (Dong et al. 2020), equation 5; the local Hessian is ours, labelled so.
 */
export const hessianTraceLocal = defineScorer({
  summary: "mean Hessian trace of the layer's own output error times ‖ΔW‖²",
  source: "Dong et al. 2020 (HAWQ-V2), equation 5, layer-local Gauss–Newton form",
  needs: ["meanSquare", "rowFrequency"],
  forward: false,
  unit: "squared output error",
  score: (input) =>
    scoreEach(input, "rounded", ({ weight, quantized, stats }) => {
      const { meanSquare, rowFrequency } = stats;
      let curvature = 0;
      if (meanSquare)
        curvature += (2 * meanSquare.reduce((sum, value) => sum + value, 0)) / weight.cols;
      if (rowFrequency) curvature += 2 / weight.rows;
      return (curvature * squaredDistance(weight, quantized)) / 2;
    }),
});
