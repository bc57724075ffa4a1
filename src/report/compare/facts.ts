/** The headline of a comparison, row by row: both values and what lies between them. */
import type { LanguageQualityReport } from "../document.ts";
import {
  change,
  decibel,
  duration,
  fixed,
  grouped,
  interval,
  percent,
  significant,
} from "../page/numbers.ts";
import { type ComparedRun, type Comparison, lowestSqnr } from "./comparison.ts";

/** One figure of both runs. */
export interface ComparisonRow {
  readonly name: string;
  readonly a: string;
  readonly b: string;
  /** Empty where a difference would say nothing. */
  readonly difference: string;
}

type Show = (value: number) => string;

function between(a: number, b: number): string {
  if (a === b) return "same";
  return a === 0 ? "" : change(b / a - 1);
}

/** Shares differ by points, not by percent of a percentage. */
function points(a: number, b: number): string {
  if (a === b) return "same";
  return `${b > a ? "+" : "−"}${fixed(100 * Math.abs(b - a), 1)} points`;
}

/** The figures of both runs, as rows of a table. */
export function comparisonRows({ a, b, quality }: Comparison): ComparisonRow[] {
  const row = (name: string, pick: (run: ComparedRun) => number, show: Show): ComparisonRow => {
    const [one, other] = [pick(a), pick(b)];
    return { name, a: show(one), b: show(other), difference: between(one, other) };
  };
  return [
    row("file, bytes", ({ output }) => output.bytes, grouped),
    row("weights, bytes", ({ weightBytes }) => weightBytes, grouped),
    row("budget, bytes", ({ budgetBytes }) => budgetBytes, grouped),
    row(
      "bits per weight",
      ({ bitsPerWeight }) => bitsPerWeight,
      (bits) => fixed(bits, 4),
    ),
    ...qualityRows(a, b, quality.comparable),
    { name: "time", a: duration(a.elapsedMs), b: duration(b.elapsedMs), difference: "" },
    { name: "notices", a: grouped(a.notices), b: grouped(b.notices), difference: "" },
  ];
}

function qualityRows(a: ComparedRun, b: ComparedRun, comparable: boolean): ComparisonRow[] {
  const [one, other] = [a.quality, b.quality];
  if (one.kind === "language" && other.kind === "language") {
    const of = (
      name: string,
      key: Exclude<keyof LanguageQualityReport["intervals"], "klDivergence999">,
      show: Show,
    ): ComparisonRow => {
      const [x, y] = [one.intervals[key], other.intervals[key]];
      const text = (estimate: typeof x) => `${show(estimate.value)} (${interval(estimate, show)})`;
      const difference = comparable ? between(x.value, y.value) : "";
      return { name, a: text(x), b: text(y), difference };
    };
    const three: Show = (value) => fixed(value, 3);
    const rise = of("rise of the loss, paired", "nllIncrease", significant);
    return [
      of("perplexity, float", "perplexityFloat", three),
      of("perplexity, quantized", "perplexityQuantized", three),
      {
        ...rise,
        // A percentage of what may be nothing says nothing.
        difference: one.intervals.nllIncrease.low > 0 ? rise.difference : "",
      },
      of("KL, nats per token", "klDivergence", significant),
      {
        ...of("same first choice", "topAgreement", (share) => percent(share)),
        difference: comparable ? points(one.topAgreement, other.topAgreement) : "",
      },
    ];
  }
  const text = ({ quality }: ComparedRun) => {
    if (quality.kind === "language") return "–";
    const lowest = lowestSqnr(quality);
    return decibel(Number.isFinite(lowest) ? lowest : null);
  };
  return [{ name: "lowest SQNR", a: text(a), b: text(b), difference: "" }];
}
