/** The loss itself: the model with only this layer quantized, run on the search data. */
import {
  defineScorer,
  type LayerLosses,
  type LossProbe,
  type ScoreCandidate,
  type ScoreInput,
} from "../core/score.ts";
import { monotone, outputError, scoreEach, statsOf } from "./losses.ts";

/**
 * `loss(l, b) = KL(p_float ‖ p with only layer l in format b)`, nats per token (for graphs that are no language model:
 * the relative squared error of the outputs).
 *
 * Measured once per layer and width, in the middle format of that width (of those with an output error above 0); the
 * other formats of the width are extrapolated by the ratio of their output errors. Formats without output error get 0.
 * A layer that no row reached, neither in calibration nor in search, has no loss to measure: its weight error counts as
 * much as a unit of output error costs on average elsewhere (the sums' ratio over all other layers).
 * Made monotone in the width within one block size and symmetry.
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
  work: { passes: "widths", quantizes: true, judges: true },
  unit: "nats per token",
  async score(input) {
    const chosen = input.candidates.map((candidate) => representatives(candidate, () => true));
    const probe = await input.probe();
    const stop = new AbortController();
    const signal = input.signal ? AbortSignal.any([input.signal, stop.signal]) : stop.signal;
    const measuring = measureFormats(input, probe, chosen);
    // The forward passes run on worker threads; this thread quantizes the other formats meanwhile.
    const scoring = scoreEach(
      { ...input, signal, onEvent: undefined },
      "quantized",
      ({ weight, quantized, stats }) => outputError(weight, quantized, stats, input.algebra),
    );
    const [measured, errors] = await Promise.all([measuring, scoring]).catch((error: unknown) => {
      stop.abort();
      throw error;
    });
    const errorsOf = ({ layer }: ScoreCandidate) => errors.get(layer.id)?.losses ?? [];
    // A format that happens to be exact tells nothing about the inexact ones of its width.
    const instead = input.candidates.map((candidate, i) => {
      const error = errorsOf(candidate);
      const exact = chosen[i].filter((index) => error[index] === 0);
      const bits = new Set(exact.map((index) => candidate.formats[index].bits));
      return representatives(candidate, (f) => error[f] > 0 && bits.has(candidate.formats[f].bits));
    });
    const again = await measureFormats(input, probe, instead);
    const losses = input.candidates.map((candidate, i) => {
      const error = errorsOf(candidate);
      const known = new Map([...measured[i], ...again[i]]);
      return candidate.formats.map((format, f) => {
        if (error[f] === 0) return 0;
        const base = [...known.keys()].find(
          (index) => candidate.formats[index].bits === format.bits && error[index] > 0,
        );
        return base === undefined ? 0 : ((known.get(base) ?? 0) * error[f]) / error[base];
      });
    });
    const unreached = input.candidates.map(
      ({ layer }, i) => statsOf(input, layer).tokens === 0 && losses[i].every((loss) => loss === 0),
    );
    const reached = input.candidates.flatMap((candidate, i) =>
      unreached[i] ? [] : [{ loss: sum(losses[i]), error: sum(errorsOf(candidate)) }],
    );
    const totalError = sum(reached.map(({ error }) => error));
    const price = totalError > 0 ? sum(reached.map(({ loss }) => loss)) / totalError : 1;
    return new Map<string, LayerLosses>(
      input.candidates.map((candidate, i) => {
        const own = unreached[i] ? errorsOf(candidate).map((error) => price * error) : losses[i];
        return [candidate.layer.id, { losses: monotone(candidate, own) }];
      }),
    );
  },
});

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Measured losses of chosen formats, by index of the format, one map per candidate. */
async function measureFormats(
  input: ScoreInput<"hessian" | "rowFrequency">,
  probe: LossProbe,
  chosen: readonly (readonly number[])[],
): Promise<Map<number, number>[]> {
  const total = sum(chosen.map(({ length }) => length));
  if (total === 0) return chosen.map(() => new Map());
  let done = 0;
  const jobs = input.candidates.map(({ layer, formats }, i) => ({
    layer,
    candidates: chosen[i].map((index) => () => input.quantized(layer, formats[index])),
  }));
  const measured = await probe.measure(
    jobs.filter(({ candidates }) => candidates.length > 0),
    ({ id }) =>
      input.onEvent?.({ type: "progress", stage: "measure", done: ++done, total, label: id }),
  );
  let next = 0;
  return chosen.map((indices) => {
    const losses = indices.length > 0 ? measured[next++] : [];
    return new Map(indices.map((index, at) => [index, losses[at]]));
  });
}

/** Index of the middle one of each width's formats that qualify; widths without any are left out. */
function representatives(
  { formats }: ScoreCandidate,
  qualifies: (index: number) => boolean,
): number[] {
  const widths = [...new Set(formats.map(({ bits }) => bits))];
  return widths.flatMap((bits) => {
    const indices = [...formats.keys()].filter((f) => formats[f].bits === bits && qualifies(f));
    return indices.length > 0 ? [indices[Math.floor(indices.length / 2)]] : [];
  });
}
