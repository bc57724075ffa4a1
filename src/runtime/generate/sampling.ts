/**
 * From logits to the next token: greedy, or a draw from the tempered and truncated distribution.
 * Invariant: same logits, same options, same random numbers: same token, on every machine.
 */
import { BitloomError } from "../../core/errors.ts";
import type { Random } from "../../core/random.ts";

/** How a token is chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0 takes the most probable token. Default 0. */
  readonly temperature?: number | undefined;
  /** Draws among the k most probable tokens only. Default: all. */
  readonly topK?: number | undefined;
  /** Draws among the fewest most probable tokens whose probabilities sum to at least this. Default 1. */
  readonly topP?: number | undefined;
}

/** Picks the next token. @throws numeric - no logit is a number, or one is NaN. */
export type Sampler = (logits: Float32Array) => number;

/**
 * Makes the sampler that the options describe.
 *
 *   p_i ∝ exp(logit_i / temperature) over the topK greatest logits; of these the shortest prefix, in descending order,
 *   whose Σ p ≥ topP; a uniform number picks from it in proportion.
 *
 * Cost per token: O(vocabulary), and a sort of the few tokens that `topK` and `topP` leave.
 * Numerics: float64; equal logits in the order of their ids.
 *
 * @throws bad-option - a value out of its range, or one that means nothing at temperature 0.
 */
export function createSampler(options: SamplingOptions, random: Random): Sampler {
  const { temperature = 0, topK, topP } = options;
  check("temperature", temperature, temperature >= 0, "a number from 0");
  if (topK !== undefined) {
    check("topK", topK, Number.isInteger(topK) && topK >= 1, "a whole number from 1");
  }
  if (topP !== undefined) {
    check("topP", topP, topP > 0 && topP <= 1, "a number above 0, at most 1");
  }
  if (temperature === 0) {
    refuseGreedy({ topK, topP });
    return mostProbable;
  }
  return (logits) => {
    const { ids, greatest } = candidates(logits, topK ?? logits.length);
    const weights = Float64Array.from(ids, (id) => Math.exp((logits[id] - greatest) / temperature));
    if (topP === undefined || topP === 1) return ids[draw(weights, random.next())];
    const nucleus = nucleusOf(weights, topP);
    return ids[
      nucleus[
        draw(
          nucleus.map((index) => weights[index]),
          random.next(),
        )
      ]
    ];
  };
}

function mostProbable(logits: Float32Array): number {
  let best = -1;
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id])) throw notFinite(logits);
    if (best < 0 || logits[id] > logits[best]) best = id;
  }
  if (best < 0 || !Number.isFinite(logits[best])) throw notFinite(logits);
  return best;
}

/** The `count` greatest logits; all of them in the order of ids, fewer in descending order. None is −∞. */
function candidates(
  logits: Float32Array,
  count: number,
): { readonly ids: readonly number[]; readonly greatest: number } {
  const greatest = logits[mostProbable(logits)];
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (logit === Number.NEGATIVE_INFINITY) continue;
    if (count >= logits.length) ids.push(id);
    else if (ids.length < count || logit > logits[ids[ids.length - 1]]) {
      let low = 0;
      let high = ids.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (logits[ids[middle]] >= logit) low = middle + 1;
        else high = middle;
      }
      ids.splice(low, 0, id);
      if (ids.length > count) ids.pop();
    }
  }
  return { ids, greatest };
}

/** Indices of the fewest greatest weights that hold the share of the sum, greatest first. */
function nucleusOf(weights: Float64Array, share: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // All weights below this together hold less than the rest, so the nucleus lies above it: little is left to sort.
  const least = ((1 - share) * total) / weights.length;
  const indices: number[] = [];
  for (let index = 0; index < weights.length; index++) {
    if (weights[index] >= least) indices.push(index);
  }
  indices.sort((a, b) => weights[b] - weights[a] || a - b);
  let sum = 0;
  const last = indices.findIndex((index) => {
    sum += weights[index];
    return sum >= share * total;
  });
  return last < 0 ? indices : indices.slice(0, last + 1);
}

function draw(weights: ArrayLike<number>, uniform: number): number {
  let total = 0;
  for (let index = 0; index < weights.length; index++) total += weights[index];
  let left = uniform * total;
  let last = 0;
  for (let index = 0; index < weights.length; index++) {
    left -= weights[index];
    if (left < 0) return index;
    if (weights[index] > 0) last = index;
  }
  // Rounding may leave a rest; the last token with any weight takes it.
  return last;
}

function refuseGreedy(options: Pick<SamplingOptions, "topK" | "topP">): void {
  const given = (["topK", "topP"] as const).find((key) => options[key] !== undefined);
  if (given === undefined) return;
  throw new BitloomError(
    "bad-option",
    `Option ${given} does nothing at temperature 0, which always takes the most probable token. Set a temperature or leave ${given} out.`,
    { option: given, got: String(options[given]) },
  );
}

function check(option: string, value: number, holds: boolean, expected: string): void {
  if (holds && Number.isFinite(value)) return;
  throw new BitloomError("bad-option", `Option ${option}: expected ${expected}, got ${value}.`, {
    option,
    got: String(value),
  });
}

function notFinite(logits: Float32Array): BitloomError {
  const position = logits.findIndex((logit) => !Number.isFinite(logit));
  return new BitloomError(
    "numeric",
    `The model's logits are no finite numbers: expected ${logits.length} numbers, got ${logits[position]} for token ${position}. Try precision "exact"; if that does not help, the model itself overflows.`,
    { layer: "logits", step: "sampling" },
  );
}
