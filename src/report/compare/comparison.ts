/**
 * Two runs on the same model beside each other, from their reports: what differs, and what may be said about it.
 * Nothing is measured here.
 */
import { BitloomError } from "../../core/errors.ts";
import type { LayerId } from "../../core/layer.ts";
import type { QualityReport, QuantizeReport } from "../document.ts";

/** Two runs side by side. */
export interface Comparison {
  readonly version: 1;
  readonly command: "compare";
  /** The float model of both. */
  readonly model: QuantizeReport["model"];
  readonly a: ComparedRun;
  readonly b: ComparedRun;
  readonly quality: {
    /** True where both were measured on the same samples in the same way. */
    readonly comparable: boolean;
    /** What the numbers allow to say, in a sentence or two. */
    readonly statement: string;
  };
  /** Of both runs together. */
  readonly layers: number;
  /** Layers whose format differs, in the order of the graph. */
  readonly changed: readonly ChangedLayer[];
  /** Options that differ; null where a run has none of that name. */
  readonly options: Readonly<Record<string, { readonly a: unknown; readonly b: unknown }>>;
}

/** One of the runs. */
export interface ComparedRun {
  readonly output: { readonly path: string; readonly bytes: number; readonly sha256: string };
  readonly budgetBytes: number;
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
  readonly quality: QualityReport;
  readonly elapsedMs: number;
  readonly notices: number;
}

/** A layer that the runs treat differently. */
export interface ChangedLayer {
  readonly name: LayerId;
  /** null where a run has no such layer. */
  readonly a: ComparedLayer | null;
  readonly b: ComparedLayer | null;
}

/** What a run made of a layer. */
export interface ComparedLayer {
  readonly format: string;
  readonly bits: number;
  readonly bytes: number;
  readonly sqnrDb: number | null;
}

/**
 * @throws bad-option - the reports are of different models.
 */
export function compareReports(a: QuantizeReport, b: QuantizeReport): Comparison {
  if (a.model.sha256 !== b.model.sha256) {
    throw new BitloomError(
      "bad-option",
      `The reports are of different models: expected the same sha256, got ${a.model.sha256.slice(0, 12)}… ("${a.model.path}") and ${b.model.sha256.slice(0, 12)}… ("${b.model.path}"). Compare two runs on one model.`,
      { option: "report", got: b.model.path },
    );
  }
  const names = jointNames(a, b);
  const [before, after] = [a, b].map(layersOf);
  const changed = names.flatMap((name): ChangedLayer[] => {
    const [one, other] = [before.get(name) ?? null, after.get(name) ?? null];
    return one?.format === other?.format ? [] : [{ name, a: one, b: other }];
  });
  return {
    version: 1,
    command: "compare",
    model: a.model,
    a: runOf(a),
    b: runOf(b),
    quality: judgeQuality(a, b),
    layers: names.length,
    changed,
    options: differingOptions(a, b),
  };
}

/** Layers of both runs in the order of the graph; those that only the second has come last. */
export function jointNames(a: QuantizeReport, b: QuantizeReport): LayerId[] {
  return [...new Set([...a.layers, ...b.layers].map(({ name }) => name))];
}

const layersOf = ({ layers }: QuantizeReport): ReadonlyMap<LayerId, ComparedLayer> =>
  new Map(
    layers.map(({ name, format, bits, bytes, sqnrDb }) => [name, { format, bits, bytes, sqnrDb }]),
  );

function runOf(report: QuantizeReport): ComparedRun {
  const { output, budgetBytes, weightBytes, bitsPerWeight, quality, timings, notices } = report;
  const { path, bytes, sha256 } = output;
  return {
    output: { path, bytes, sha256 },
    budgetBytes,
    weightBytes,
    bitsPerWeight,
    quality,
    elapsedMs: Object.values(timings).reduce((sum, ms) => sum + ms, 0),
    notices: notices.length,
  };
}

function differingOptions(a: QuantizeReport, b: QuantizeReport): Comparison["options"] {
  const names = [...new Set([...Object.keys(a.options), ...Object.keys(b.options)])];
  return Object.fromEntries(
    names
      .map((name) => [name, { a: a.options[name] ?? null, b: b.options[name] ?? null }] as const)
      .filter(([, value]) => JSON.stringify(value.a) !== JSON.stringify(value.b)),
  );
}

function judgeQuality(a: QuantizeReport, b: QuantizeReport): Comparison["quality"] {
  const refuse = (why: string) => ({
    comparable: false,
    statement: `Their quality cannot be compared: ${why}.`,
  });
  const [one, other] = [a.quality, b.quality];
  if (one.kind === "language" && other.kind === "language") {
    if (!sameData(a, b) || one.windows !== other.windows) {
      return refuse(
        `it was measured on different data, A on ${one.windows} windows of ${one.data}, B on ${other.windows} windows of ${other.data}`,
      );
    }
    if (one.protocol !== other.protocol) {
      return refuse(`the protocols differ, A "${one.protocol}", B "${other.protocol}"`);
    }
    return { comparable: true, statement: judgeIntervals(one, other) };
  }
  if (one.kind === "outputs" && other.kind === "outputs") {
    return sameData(a, b) && one.samples === other.samples
      ? { comparable: true, statement: judgeOutputs(one, other) }
      : refuse(
          `it was measured on different data, A on ${one.samples} samples of ${one.data}, B on ${other.samples} of ${other.data}`,
        );
  }
  return refuse("one was measured as a language model, the other by its outputs");
}

const sameData = (a: QuantizeReport, b: QuantizeReport): boolean =>
  typeof a.options.evaluationFingerprint === "string" &&
  a.options.evaluationFingerprint === b.options.evaluationFingerprint;

type Language = Extract<QualityReport, { kind: "language" }>;
type Outputs = Extract<QualityReport, { kind: "outputs" }>;

function judgeIntervals(a: Language, b: Language): string {
  const [one, other] = [a.intervals.klDivergence, b.intervals.klDivergence];
  if (one.value === other.value) return "Both have the same KL divergence on the same windows.";
  const [better, worse] = one.value < other.value ? ["A", "B"] : ["B", "A"];
  if (a.windows < 2) {
    return `${better} is closer to the float model on the only window, and one window has no interval: the difference may be one of the text. Evaluate on more.`;
  }
  const apart = one.high < other.low || other.high < one.low;
  return apart
    ? `${better} stays closer to the float model than ${worse}: measured on the same windows, the intervals of their KL divergences do not overlap.`
    : `${better} is closer to the float model on these windows, but the intervals of the KL divergences overlap: the difference may be one of the text. Only a comparison window by window would be sharper, and reports do not hold the windows.`;
}

function judgeOutputs(a: Outputs, b: Outputs): string {
  const [one, other] = [a, b].map(lowestSqnr);
  if (one === other) return "The least exact outputs of both are equally exact.";
  return `${one > other ? "A" : "B"} has the more exact outputs by their lowest SQNR, measured on the same ${a.samples} samples; these figures have no intervals.`;
}

/** Of the least exact output, dB; infinite where all are exact. */
export const lowestSqnr = ({ outputs }: Outputs): number =>
  Math.min(...outputs.map(({ sqnrDb }) => sqnrDb ?? Number.POSITIVE_INFINITY));
