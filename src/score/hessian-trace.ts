/** HAWQ-V2's trace of the end loss, by Hutchinson's estimator with forward passes only. */
import { throwIfAborted } from "../core/errors.ts";
import { createRandom } from "../core/random.ts";
import { defineScorer, type ProbeJob } from "../core/score.ts";
import type { Matrix } from "../core/tensor.ts";
import { scoreEach, squaredDistance, squaredNorm } from "./losses.ts";

/** Passes per layer, two per vector; HAWQ stops at a relative change of 1e-3, which forward noise does not resolve. */
const draws = 4;
/** Size of the probe relative to the weights' root mean square. */
const relativeStep = 0.02;

/**
 * `loss = ½ · (tr(H_L) / n) · ‖ΔW‖²`, n = N·K, with `tr(H_L) ≈ mean_v vᵀH_L v`, v = ±1 elementwise, and L the loss to
 * the float model (KL for language models): at the float weights L = 0 and ∇L = 0, so `vᵀH_L v ≈ 2·L(w + εv) / ε²`.
 *
 * Two vectors v per layer, each taken with both signs: the mean over +v and −v cancels the third-order term of L.
 * ε = 0.02·rms(w): smaller drowns in float32 rounding of the logits, larger leaves the quadratic region.
 *
 * Cost: 4 suffix passes per layer. Source: HAWQ-V2 (Dong et al. 2020), equation 5, with Hutchinson's estimator. Ours:
 * finite differences of the loss itself instead of back-propagation, and the ½ of the second-order term.
 * Numerics: the estimate's relative standard deviation over draws is at most √(2 / 2 vectors) = 1 for a rank-one H_L
 *   and falls as 1/√rank. A layer of zeros has no scale ε and gets loss 0.
 */
export const hessianTrace = defineScorer({
  summary: "mean Hessian trace of the end loss (Hutchinson, forward passes only) times ‖ΔW‖²",
  source: "Dong et al. 2020 (HAWQ-V2), equation 5; Hutchinson 1990",
  needs: [],
  forward: true,
  work: { passes: 4, quantizes: false, judges: false },
  unit: "loss",
  async score(input) {
    const probe = await input.probe();
    const random = createRandom(input.seed);
    const steps = new Map<string, number>();
    const jobs: ProbeJob[] = [];
    for (const { layer } of input.candidates) {
      throwIfAborted(input.signal, "scoring");
      const weight = await layer.readWeight();
      const step = relativeStep * Math.sqrt(squaredNorm(weight) / weight.data.length);
      steps.set(layer.id, step);
      const seed = random.integer(2 ** 32);
      const candidates = Array.from(
        { length: draws },
        (_, draw) => async () =>
          perturbed(await layer.readWeight(), step, seed + (draw >> 1), draw % 2 === 0 ? 1 : -1),
      );
      jobs.push({ layer, candidates });
    }
    const total = jobs.length * draws;
    let done = 0;
    const measured = await probe.measure(jobs, ({ id }) =>
      input.onEvent?.({ type: "progress", stage: "measure", done: ++done, total, label: id }),
    );
    const meanTrace = new Map(
      jobs.map(({ layer }, i) => {
        const step = steps.get(layer.id) ?? 0;
        const loss = measured[i].reduce((sum, value) => sum + value, 0) / draws;
        return [layer.id, step === 0 ? 0 : (2 * loss) / step ** 2 / (layer.n * layer.k)];
      }),
    );
    return scoreEach(
      { ...input, onEvent: undefined },
      "rounded",
      ({ layer, weight, quantized }) =>
        ((meanTrace.get(layer.id) ?? 0) * squaredDistance(weight, quantized)) / 2,
    );
  },
});

/** w + sign·ε·v with v = ±1 drawn from the seed. */
function perturbed(weight: Matrix, step: number, seed: number, sign: number): Matrix {
  const random = createRandom(seed);
  return { ...weight, data: weight.data.map((value) => value + sign * step * random.sign()) };
}
