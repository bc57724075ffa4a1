/**
 * Results of `bench:quality` as points: what tables and plots are made of.
 */
import { type Banded, figureValue } from "../harness/figures.ts";
import type { ResultLine } from "../harness/results.ts";

export interface Point {
  readonly key: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly perplexity: number;
  readonly kl: number;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface QualityResults {
  readonly model: string;
  readonly floatPerplexity: number;
  readonly points: readonly Point[];
  /** Rank correlations, by scorer and bits. */
  readonly ranks: readonly {
    readonly scorer: string;
    readonly bits: number;
    readonly value: number;
  }[];
  readonly environment: ResultLine["environment"];
}

/** @throws Error - lines of another benchmark, or none. */
export function toQualityResults(lines: readonly ResultLine[]): QualityResults {
  const own = lines.filter(({ benchmark }) => benchmark === "quality");
  const ranks = own.filter(({ key }) => key.kind === "ranks");
  const points = own
    .filter(({ key }) => key.kind !== "ranks")
    .map(({ key, figures, details = {} }): Point => {
      const texts = Object.entries(key).map(([name, value]) => [name, String(value)]);
      return {
        key: Object.fromEntries(texts),
        bytes: figureValue(figures.bytes),
        bitsPerWeight: Number(details.bitsPerWeight),
        perplexity: figureValue(figures.perplexity),
        kl: figureValue(figures.kl),
        details,
      };
    });
  if (points.length === 0) throw new Error("expected results of bench:quality, got none");
  return {
    model: points[0].key.model,
    floatPerplexity: Number(points[0].details.floatPerplexity),
    points,
    ranks: ranks.map(({ key, figures }) => ({
      scorer: String(key.scorer),
      bits: Number(key.bits),
      value: figureValue(figures.rankCorrelation),
    })),
    environment: own[0].environment,
  };
}

/** Points whose key has these entries. */
export const where = (
  points: readonly Point[],
  entries: Readonly<Record<string, string>>,
): readonly Point[] =>
  points.filter(({ key }) => Object.entries(entries).every(([name, value]) => key[name] === value));

export const lowest = (points: readonly Point[]): Point | undefined =>
  points.reduce<Point | undefined>(
    (best, one) => (best && best.kl <= one.kl ? best : one),
    undefined,
  );

/** The default at another method's bytes, and whether it is worse there by more than chance. */
export interface Match {
  readonly other: Point;
  readonly ours: Point;
  /** KL of the default less that of the other, paired over windows; undefined where there are no windows. */
  readonly difference: Banded | undefined;
  readonly isWorse: boolean;
}

/** Every other method that the default was run beside at the same bytes: rivals, or the best uniform plans. */
export function matches(points: readonly Point[], kind: "rival" | "uniform"): readonly Match[] {
  return where(points, { kind }).flatMap((other) => {
    const { tool, method, quantizer, format, propagation } = other.key;
    const at =
      kind === "rival" ? `${tool} ${method}` : `uniform ${quantizer} ${format} ${propagation}`;
    const [ours] = where(points, { kind: "default", at });
    if (!ours) return [];
    const { kl: difference } = (ours.details.difference ?? {}) as { kl?: Banded };
    return [{ other, ours, difference, isWorse: ours.kl > other.kl }];
  });
}
