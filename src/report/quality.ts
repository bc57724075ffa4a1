/** Measured quality as report entries. */
import type { Dataset } from "../core/dataset.ts";
import { invariant } from "../core/errors.ts";
import type { Quality } from "../evaluate/index.ts";
import type { QualityReport } from "./document.ts";

/** What stands for −∞ dB in JSON: an output that is zero in the float model and not zero in the quantized one. */
const lowestDb = -999;

/** dB values for JSON, which has no infinities: null stands for an exact result (+∞), −999 for −∞. */
export function jsonDb(db: number): number | null {
  invariant(!Number.isNaN(db), "a signal-to-noise ratio is NaN");
  return db === Number.POSITIVE_INFINITY ? null : Math.max(lowestDb, db);
}

/**
 * @param protocol - one line: window, stride, BOS.
 */
export function reportQuality(quality: Quality, dataset: Dataset, protocol: string): QualityReport {
  const data = dataset.description;
  if (quality.kind === "outputs") {
    const outputs = quality.outputs.map(({ name, sqnrDb, cosine }) => ({
      name,
      sqnrDb: jsonDb(sqnrDb),
      cosine,
    }));
    return { kind: "outputs", data, samples: quality.samples, outputs };
  }
  const { windows, tokens, perplexity, klDivergence, klDivergence999, topAgreement } = quality;
  return {
    kind: "language",
    data,
    protocol,
    windows,
    tokens,
    perplexity: { float: perplexity.float.value, quantized: perplexity.quantized.value },
    klDivergence: klDivergence.value,
    klDivergence999: klDivergence999.value,
    topAgreement: topAgreement.value,
    intervals: {
      perplexityFloat: perplexity.float,
      perplexityQuantized: perplexity.quantized,
      nllIncrease: quality.nllIncrease,
      klDivergence,
      klDivergence999,
      topAgreement,
    },
  };
}
