/**
 * A measured quality as figures of results.
 */
import type { LanguageQuality, Quality } from "../../src/index.ts";
import { lossOf } from "../../src/index.ts";
import { banded, type Figure, rounded } from "../harness/figures.ts";

/**
 * Perplexity's band is that of the rise over the float model, paired over windows: how hard the text is itself does not
 * change between two runs on the same windows, and would hide every difference.
 */
export function qualityFigures(quality: Quality): Readonly<Record<string, Figure>> {
  if (quality.kind === "outputs") return { loss: rounded(lossOf(quality)) };
  const { perplexity, klDivergence, topAgreement } = quality;
  return {
    perplexity: banded({ value: perplexity.quantized.value, ...risenBand(quality) }),
    kl: banded(klDivergence),
    topAgreement: banded(topAgreement),
  };
}

function risenBand({ perplexity, nllIncrease }: LanguageQuality) {
  const float = perplexity.float.value;
  return { low: float * Math.exp(nllIncrease.low), high: float * Math.exp(nllIncrease.high) };
}
