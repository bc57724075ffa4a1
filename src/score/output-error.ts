/** Squared error of the layer's own output, from the full Hessian. */
import { defineScorer } from "../core/score.ts";
import { outputError, scoreEach } from "./losses.ts";

/**
 * `loss = ½ tr(ΔW H ΔWᵀ) = E‖ΔW x‖²` over matrix uses, plus `Σ_n p_n ‖ΔW_n‖²` over gathered rows, divided by the
 * layer's output power `E‖W x‖²` so that layers compare.
 *
 * Cost: O(N·K²) per format. Source: full-Hessian output error (GPTQ's layer objective, Frantar et al. 2023, eq. 1).
 */
export const outputErrorScorer = defineScorer({
  summary: "relative squared error of each layer's output, by the full XᵀX",
  source: "Frantar et al. 2023 (GPTQ), equation 1",
  needs: ["hessian", "rowFrequency"],
  forward: false,
  unit: "relative squared error of the output",
  score: (input) =>
    scoreEach(input, "quantized", ({ weight, quantized, stats }) => {
      const zero = { ...weight, data: new Float32Array(weight.data.length) };
      const power = outputError(weight, zero, stats);
      return power === 0 ? 0 : outputError(weight, quantized, stats) / power;
    }),
});
