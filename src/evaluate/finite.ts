/**
 * Tells a quality that was measured from one that could not be. Invariant: NaN is never reported as a result.
 */
import { BitloomError } from "../core/errors.ts";
import type { Quality } from "./index.ts";

/**
 * Passes a quality on when its numbers are numbers. An SQNR of +∞ (exact) or −∞ (not zero where the float model is
 * zero) is one.
 *
 * @throws numeric - perplexity or KL is not finite, or an output's SQNR or cosine is NaN: the float or the quantized
 *   model computes NaN or overflows on this data.
 */
export function requireFinite(quality: Quality): void {
  if (quality.kind === "outputs") {
    for (const { name, sqnrDb, cosine } of quality.outputs)
      if (Number.isNaN(sqnrDb) || Number.isNaN(cosine)) throw notFinite(`output "${name}"`, "SQNR");
    return;
  }
  const { perplexity, klDivergence, klDivergence999, nllIncrease } = quality;
  if (!Number.isFinite(perplexity.float.value))
    throw notFinite("the float model", "perplexity", perplexity.float.value);
  const measures = {
    perplexity: perplexity.quantized,
    "KL divergence": klDivergence,
    "99.9th percentile of the KL divergence": klDivergence999,
    "rise of the log-likelihood": nllIncrease,
  };
  for (const [name, { value }] of Object.entries(measures))
    if (!Number.isFinite(value)) throw notFinite("the quantized model", name, value);
}

function notFinite(where: string, measure: string, got = Number.NaN): BitloomError<"numeric"> {
  return new BitloomError(
    "numeric",
    `The ${measure} of ${where} cannot be measured: expected a finite number, got ${got}; a model computes NaN or overflows on this data. Check the data, raise --budget, or keep the layer at fault in float with --pin.`,
    { layer: where, step: "evaluation" },
  );
}
