/** The loss itself: the model with only this layer quantized, run on the search data. */
import type { LayerLosses, ScoreCandidate } from "../core/score.ts";
import { defineScorer } from "../core/score.ts";
import { monotone, outputError, scoreEach } from "./losses.ts";

/**
 * `loss(l, b) = KL(p_float ‖ p with only layer l in format b)`, nats per token (for graphs that are no language model:
 * the relative squared error of the outputs).
 *
 * Measured once per layer and width, in the middle format of that width; the other formats of the width are
 * extrapolated by the ratio of their output errors. Made monotone in the width.
 *
 * Cost: widths × layers suffix passes over the search split, plus `output-error` for every format.
 * Source: one-at-a-time KL (NVIDIA ModelOpt, exllamav2); in the onnxsim study its rank correlation with held-out KL was
 * the highest of all scores (0.83 to 0.97 on 16 samples).
 */
export const measuredKl = defineScorer({
  summary: "measured loss with only this layer quantized, one forward pass per layer and width",
  source: "one-at-a-time KL divergence; extrapolation by output error is ours",
  needs: ["hessian", "rowFrequency"],
  forward: true,
  unit: "nats per token",
  async score(input) {
    const chosen = input.candidates.map((candidate) => representatives(candidate));
    const total = chosen.reduce((sum, indices) => sum + indices.length, 0);
    let done = 0;
    const probe = await input.probe();
    const measuring = probe.measure(
      input.candidates.map(({ layer, formats }, i) => ({
        layer,
        candidates: chosen[i].map((index) => () => input.quantized(layer, formats[index])),
      })),
      ({ id }) =>
        input.onEvent?.({ type: "progress", stage: "measure", done: ++done, total, label: id }),
    );
    // The forward passes run on worker threads; this thread quantizes the other formats meanwhile.
    const [measured, errors] = await Promise.all([
      measuring,
      scoreEach({ ...input, onEvent: undefined }, "quantized", ({ weight, quantized, stats }) =>
        outputError(weight, quantized, stats),
      ),
    ]);
    return new Map<string, LayerLosses>(
      input.candidates.map((candidate, i) => {
        const error = errors.get(candidate.layer.id)?.losses ?? [];
        const losses = candidate.formats.map((format, f) => {
          const at = chosen[i].findIndex((index) => candidate.formats[index].bits === format.bits);
          const base = error[chosen[i][at]];
          return base === 0 ? 0 : (measured[i][at] * error[f]) / base;
        });
        return [candidate.layer.id, { losses: monotone(candidate, losses) }];
      }),
    );
  },
});

/** Index of the middle format of each width. */
function representatives({ formats }: ScoreCandidate): number[] {
  const widths = [...new Set(formats.map(({ bits }) => bits))];
  return widths.map((bits) => {
    const indices = formats.flatMap((format, i) => (format.bits === bits ? [i] : []));
    return indices[Math.floor(indices.length / 2)];
  });
}
