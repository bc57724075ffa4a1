/** HAWQ-V2's trace of the end loss, by Hutchinson's estimator with forward passes only. */
import { createRandom } from "../core/random.ts";
import { defineScorer } from "../core/score.ts";
import type { Matrix } from "../core/tensor.ts";
import { scoreEach, squaredDistance, squaredNorm } from "./losses.ts";

/** Rademacher draws per layer; HAWQ stops at a relative change of 1e-3, which forward noise does not resolve. */
const draws = 4;
/** Size of the probe relative to the weights' root mean square. */
const relativeStep = 0.02;

/**
 * `loss = (tr(H_L) / n) · ‖ΔW‖² / 2` with `tr(H_L) ≈ mean_v vᵀH v`, v = ±1, and L = KL to the float model: at the float
 * weights L = 0 and ∇L = 0, so `vᵀH v ≈ 2·L(w + εv) / ε²` needs one forward pass per draw.
 *
 * ε = 0.02·rms(w): smaller drowns in float32 rounding of the logits, larger leaves the quadratic region.
 *
 * Cost: 4 suffix passes per layer. Source: HAWQ-V2 (Dong et al. 2020), equation 5. Ours: finite differences of the
 * loss itself, both signs averaged away by drawing ±v pairs.
 */
export const hessianTrace = defineScorer({
  summary: "mean Hessian trace of the end loss (Hutchinson, forward passes only) times ‖ΔW‖²",
  source: "Dong et al. 2020 (HAWQ-V2), equation 5; Hutchinson 1990",
  needs: [],
  forward: true,
  unit: "loss",
  async score(input) {
    const probe = await input.probe();
    const random = createRandom(input.seed);
    const steps = new Map<string, number>();
    const jobs = await Promise.all(
      input.candidates.map(async ({ layer }) => {
        const weight = await layer.readWeight();
        const step = relativeStep * Math.sqrt(squaredNorm(weight) / weight.data.length);
        steps.set(layer.id, step);
        const seed = random.integer(2 ** 32);
        const candidates = Array.from(
          { length: draws },
          (_, draw) => async () =>
            perturbed(await layer.readWeight(), step, seed + (draw >> 1), draw % 2 === 0 ? 1 : -1),
        );
        return { layer, candidates };
      }),
    );
    const measured = await probe.measure(jobs, (layer) =>
      input.onEvent?.({ type: "progress", stage: "score", done: 0, total: 0, label: layer.id }),
    );
    const meanTrace = new Map(
      jobs.map(({ layer }, i) => {
        const step = steps.get(layer.id) ?? 0;
        const loss = measured[i].reduce((sum, value) => sum + value, 0) / draws;
        return [layer.id, step === 0 ? 0 : (2 * loss) / step ** 2 / (layer.n * layer.k)];
      }),
    );
    return scoreEach(
      input,
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
