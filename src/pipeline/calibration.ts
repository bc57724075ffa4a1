/** The calibration stage alone: statistics for later runs on the same model and data. */
import { createArrayStore } from "../calibrate/index.ts";
import type { Notice } from "../core/events.ts";
import { createRuntime } from "../runtime/index.ts";
import { version } from "../version.ts";
import { fingerprintModel } from "./artefact.ts";
import { createJournal } from "./journal.ts";
import type { StageOptions } from "./options.ts";
import { outlierStatistics } from "./outliers.ts";
import { prepareRun } from "./run.ts";
import { type CollectedStatistics, statisticsFingerprint } from "./statistics-file.ts";

/** Options of `calibrateModel`. */
export type CalibrationOptions = Omit<
  StageOptions,
  "budget" | "allocator" | "pins" | "minBits" | "maxBits" | "formats" | "statistics"
>;

/** What `calibrateModel` collected. */
export interface CalibrationReport {
  readonly version: 1;
  readonly command: "calibrate";
  readonly bitloom: string;
  readonly fingerprint: string;
  readonly model: { readonly path: string; readonly bytes: number; readonly sha256: string };
  readonly data: CollectedStatistics["data"];
  /** Names of what the chosen scorer and quantizer need. */
  readonly statistics: readonly string[];
  readonly layers: readonly {
    readonly name: string;
    /** Rows seen. */
    readonly tokens: number;
    /** Those that apply to the layer. */
    readonly statistics: readonly string[];
  }[];
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}

/**
 * Collects the statistics that the chosen scorer and quantizer need.
 *
 * @returns the statistics, for `saveStatistics` or the `statistics` option of later runs, and what was collected.
 * @throws bad-model, unsupported, bad-data, bad-option, numeric, aborted - see `quantize`.
 */
export async function calibrateModel(
  modelPath: string,
  options: CalibrationOptions = {},
): Promise<{ readonly statistics: CollectedStatistics; readonly report: CalibrationReport }> {
  const journal = createJournal(options);
  const runtime = createRuntime({ threads: options.threads ?? 2 });
  try {
    // All statistics of all layers are the result, so they stay in memory.
    const arrays = createArrayStore(Number.POSITIVE_INFINITY);
    const context = { journal, runtime, arrays, needsScores: true };
    const run = await prepareRun(modelPath, { ...options, sequential: false }, context);
    const { subject, quantizer, scorer } = run;
    const sha256 = await fingerprintModel(subject.model);
    const { description, samples, fingerprint } = run.data.calibrate;
    const statistics: CollectedStatistics = {
      model: sha256,
      data: { description, samples, fingerprint },
      needs: [...new Set([...scorer.needs, ...quantizer.needs, ...outlierStatistics])].sort(),
      layers: run.stats,
    };
    const report: CalibrationReport = {
      version: 1,
      command: "calibrate",
      bitloom: version,
      fingerprint: statisticsFingerprint(statistics),
      model: { path: modelPath, bytes: subject.model.fileBytes, sha256 },
      data: statistics.data,
      statistics: statistics.needs,
      layers: [...run.stats.values()].map((entry) => ({
        name: entry.layer,
        tokens: entry.tokens,
        statistics: statistics.needs.filter((name) => entry[name] !== undefined),
      })),
      notices: journal.notices,
      timings: journal.timings,
    };
    return { statistics, report };
  } finally {
    await runtime.close();
  }
}
