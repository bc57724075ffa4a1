/** Relative squared weight error: needs no data at all. */
import { defineScorer } from "../core/score.ts";
import { scoreEach, squaredDistance, squaredNorm } from "./losses.ts";

/**
 * `loss = ‖Ŵ − W‖² / ‖W‖²`; 0 for an all-zero matrix.
 *
 * Cost: O(N·K) per format. Source: signal-to-noise scores (Olive snr).
 */
export const weightError = defineScorer({
  summary: "relative squared error of the weights; needs no data",
  source: "‖Ŵ − W‖² / ‖W‖² (inverse signal-to-noise ratio)",
  needs: [],
  forward: false,
  work: { passes: 0, quantizes: false, judges: false },
  unit: "relative squared error",
  score: (input) =>
    scoreEach(input, "rounded", ({ weight, quantized }) => {
      const norm = squaredNorm(weight);
      return norm === 0 ? 0 : squaredDistance(weight, quantized) / norm;
    }),
});
