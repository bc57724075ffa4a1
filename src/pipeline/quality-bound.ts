/** Quality the caller insists on: a model that misses it is not written. */
import { BitloomError } from "../core/errors.ts";
import type { Quality } from "../evaluate/index.ts";
import type { Loss } from "../runtime/index.ts";
import type { QuantizePipelineOptions } from "./options.ts";

type Bounds = Pick<QuantizePipelineOptions, "maxKlDivergence" | "maxPerplexityIncrease">;

/**
 * Refuses bounds that cannot be measured, before the long work.
 *
 * @throws bad-option - a bound was given for a model or data without next-token predictions.
 */
export function requireMeasurable(loss: Loss, bounds: Bounds): void {
  const { maxKlDivergence, maxPerplexityIncrease } = bounds;
  if (maxKlDivergence === undefined && maxPerplexityIncrease === undefined) return;
  if (loss.kind === "language") return;
  const option = maxKlDivergence === undefined ? "max-perplexity-increase" : "max-kl";
  throw new BitloomError(
    "bad-option",
    `Option --${option} needs a language model fed with text: expected next-token logits and token windows, got other outputs or data. Leave it out, or give a text with --evaluate.`,
    { option },
  );
}

/**
 * Compares the measured quality with the bounds; values that equal a bound pass.
 *
 * @throws quality-missed - a bound is missed; names bound and value.
 */
export function requireQuality(quality: Quality | undefined, bounds: Bounds): void {
  if (quality?.kind !== "language") return;
  const { perplexity, klDivergence } = quality;
  const increase = perplexity.quantized.value / perplexity.float.value - 1;
  const { maxKlDivergence, maxPerplexityIncrease } = bounds;
  if (maxKlDivergence !== undefined && !(klDivergence.value <= maxKlDivergence)) {
    throw missed("KL divergence", maxKlDivergence, klDivergence.value, ["nats per token", 1]);
  }
  if (maxPerplexityIncrease !== undefined && !(increase <= maxPerplexityIncrease)) {
    throw missed("perplexity increase", maxPerplexityIncrease, increase, ["%", 100]);
  }
}

function missed(
  measure: string,
  limit: number,
  got: number,
  [unit, factor]: readonly [unit: string, factor: number],
): BitloomError {
  const [most, is] = [limit, got].map((value) => Number((factor * value).toPrecision(4)));
  return new BitloomError(
    "quality-missed",
    `The quantized model misses its quality bound: expected a ${measure} of at most ${most} ${unit}, got ${is} ${unit}. Nothing was written; raise --budget or the bound.`,
    { measure, limit, got },
  );
}
