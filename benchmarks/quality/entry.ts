/**
 * One point of the comparison: a method at some bytes, and what it came to.
 */
import type { LanguageQuality, Quality } from "../../src/index.ts";
import { pairedDifference } from "../../src/index.ts";
import { type Banded, banded, rounded } from "../harness/figures.ts";
import type { Key, Measurement } from "../harness/results.ts";
import { qualityFigures } from "./figures.ts";

export interface Entry {
  readonly key: Key;
  readonly bytes: number;
  readonly quality: Quality;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** @param weights - Σ N·K. */
export function toMeasurement(entry: Entry, weights: number): Measurement {
  const { key, bytes, quality, details } = entry;
  return {
    key,
    figures: { bytes, ...qualityFigures(quality) },
    details: {
      bitsPerWeight: rounded((8 * bytes) / weights),
      ...(quality.kind === "language" && {
        floatPerplexity: rounded(quality.perplexity.float.value),
      }),
      ...details,
    },
  };
}

export interface Difference {
  readonly kl: Banded;
  readonly nll: Banded;
}

/** `quality − base`, nats per token, paired over windows; undefined where there are no windows. */
export function differenceOf(quality: Quality, base: Quality): Difference | undefined {
  if (quality.kind !== "language" || base.kind !== "language") return undefined;
  const of = (measure: "kl" | "nll") =>
    banded(pairedDifference(quality as LanguageQuality, base as LanguageQuality, measure));
  return { kl: of("kl"), nll: of("nll") };
}
