/**
 * The figures that benchmarks report, which way each is better, and how samples become one. A figure that is not in
 * this table cannot be written, so that every result can be compared.
 */

export const figures = {
  ms: { unit: "ms", better: "lower" },
  seconds: { unit: "s", better: "lower" },
  cpuSeconds: { unit: "s", better: "lower" },
  peakMb: { unit: "MB", better: "lower" },
  bytes: { unit: "bytes", better: "lower" },
  perplexity: { unit: "", better: "lower" },
  kl: { unit: "nats per token", better: "lower" },
  loss: { unit: "", better: "lower" },
  topAgreement: { unit: "", better: "higher" },
  rankCorrelation: { unit: "", better: "higher" },
  gops: { unit: "GOP/s", better: "higher" },
  gflops: { unit: "GFLOP/s", better: "higher" },
  productGBps: { unit: "GB/s", better: "higher" },
  tokensPerSecond: { unit: "tokens/s", better: "higher" },
} as const satisfies Readonly<Record<string, { unit: string; better: "lower" | "higher" }>>;

export type FigureName = keyof typeof figures;

/** A measured value and the band that it would stay in if measured again: quartiles, or a confidence interval. */
export interface Banded {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export type Figure = number | Banded;

/** NaN for a figure that was not measured. */
export const figureValue = (figure: Figure | undefined): number =>
  typeof figure === "number" ? figure : (figure?.value ?? Number.NaN);

/** Digits that are kept: more than any measurement here is good for. */
const digits = 6;

export const rounded = (value: number): number => Number(value.toPrecision(digits));

export const banded = ({ value, low, high }: Banded): Banded => ({
  value: rounded(value),
  low: rounded(low),
  high: rounded(high),
});

/** Median and quartiles of samples, through a function that may fall ("1000 tokens / ms"). */
export function summarize(
  samples: readonly number[],
  of: (sample: number) => number = (sample) => sample,
): Banded {
  const [first, value, third] = [0.25, 0.5, 0.75].map((share) => of(quantile(samples, share)));
  return banded({ value, low: Math.min(first, third), high: Math.max(first, third) });
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);
