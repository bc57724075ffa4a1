/** Squared error of the layer's own output, from the full Hessian. */
import { defineScorer } from "../core/score.ts";
import { outputError, scoreEach } from "./losses.ts";

/**
 * `loss = ½ tr(ΔW H ΔWᵀ) = E‖ΔW x‖²` over matrix uses, plus `Σ_n p_n ‖ΔW_n‖²` over gathered rows.
 *
 * Not divided by the layer's output power: on the project's two language models the relative form was worse in five
 * of six comparisons, because it lets a small matrix weigh as much as a large one.
 *
 * Cost: O(N·K²) per format. Source: Frantar et al. 2023 (GPTQ), equation 1, as a score (onnxsim `full_hessian`).
 */
export const outputErrorScorer = defineScorer({
  summary: "squared error of each layer's output, by the full XᵀX",
  source: "Frantar et al. 2023 (GPTQ), equation 1",
  needs: ["hessian", "rowFrequency"],
  forward: false,
  work: { passes: 0, quantizes: true, judges: true },
  unit: "squared output error",
  score: (input) =>
    scoreEach(input, "quantized", ({ weight, quantized, stats }) =>
      outputError(weight, quantized, stats, input.algebra),
    ),
});
