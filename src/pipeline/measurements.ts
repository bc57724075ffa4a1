/**
 * Everything allocation needs, measured once and kept as a file: plans for other budgets, allocators or pins are
 * solved from it in milliseconds, without model or data.
 */
import {
  type Allocator,
  type AllocatorName,
  allocateBits,
  applyConstraints,
  budgetToBytes,
  matchesPattern,
  type Pin,
  parseBudget,
  toPlan,
} from "../allocate/index.ts";
import { BitloomError } from "../core/errors.ts";
import type { Notice } from "../core/events.ts";
import { float32Format, parseFormat } from "../core/format.ts";
import type { BitPlan, LayerAlternatives, PlannedQuantization } from "../core/plan.ts";
import { createRuntime } from "../runtime/index.ts";
import { version } from "../version.ts";
import { scoreAlternatives } from "./alternatives.ts";
import { fingerprint, fingerprintModel, readJson } from "./artefact.ts";
import { openHeld } from "./held.ts";
import { createJournal } from "./journal.ts";
import type { StageOptions } from "./options.ts";
import { largestOverhead } from "./overhead.ts";
import { prepareRun, type Run } from "./run.ts";

/** Scores of all layers in all formats; plain JSON. */
export interface Measurements {
  readonly version: 1;
  readonly command: "score";
  readonly bitloom: string;
  /** sha256 over model bytes, data, methods and seed. */
  readonly fingerprint: string;
  readonly model: { readonly path: string; readonly sha256: string };
  readonly data: { readonly description: string; readonly fingerprint: string };
  readonly scorer: string;
  readonly quantizer: string;
  /** How the quantizer was set; plans hand it on. */
  readonly quantize: PlannedQuantization;
  readonly target: string;
  /** Of the losses. */
  readonly unit: string;
  /** Format ids that were asked for; float32 is measured beside them so that layers can be pinned to it. */
  readonly formats: readonly string[];
  /** Σ N·K. */
  readonly weights: number;
  readonly floatFileBytes: number;
  /**
   * Upper bound of the bytes of a written file that are not quantizable weights: the float file's, each layer's nodes
   * in the format that needs most, and the functions of all formats. Budgets that speak of the file are met with this in reserve.
   */
  readonly overheadBytes: number;
  readonly layers: readonly MeasuredLayer[];
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}

/** What every format costs one layer. */
export interface MeasuredLayer {
  readonly layer: string;
  /** N·K. */
  readonly weights: number;
  readonly block: string | null;
  /** What `ranked` sorts by; null where the scorer has none. */
  readonly importance: number | null;
  readonly alternatives: readonly {
    readonly format: string;
    readonly bytes: number;
    readonly loss: number;
  }[];
}

/** Options of `scoreModel`. */
export type ScoreOptions = Omit<
  StageOptions,
  "budget" | "allocator" | "pins" | "minBits" | "maxBits"
>;

/**
 * Scores every layer in every offered format that the target can express.
 *
 * @throws bad-model, unsupported, bad-data, bad-option, numeric, aborted - see `quantize`.
 */
export async function scoreModel(
  modelPath: string,
  options: ScoreOptions = {},
): Promise<Measurements> {
  const journal = createJournal(options);
  const runtime = createRuntime({ threads: options.threads ?? 2 });
  const arrays = openHeld(options.memoryLimitBytes);
  try {
    const context = { journal, runtime, arrays, needsScores: true };
    const run = await prepareRun(modelPath, options, context);
    const { subject, data, names, methods } = run;
    const formats = new Map(
      [...methods.formats, float32Format].map((format) => [format.id, format] as const),
    );
    const offered = { ...run, methods: { ...methods, formats: [...formats.values()] } };
    const layers = await journal.stage("score", () => scoreAlternatives(offered));
    const sha256 = await fingerprintModel(subject.model);
    return {
      version: 1,
      command: "score",
      bitloom: version,
      fingerprint: fingerprintOf(run, sha256),
      model: { path: modelPath, sha256 },
      data: {
        description: data.calibrate.description,
        fingerprint: data.calibrate.fingerprint,
      },
      scorer: names.scorer,
      quantizer: names.quantizer,
      quantize: methods.quantize,
      target: names.target,
      unit: run.scorer.forward ? run.searchLoss.unit : run.scorer.unit,
      formats: methods.formats.map(({ id }) => id),
      weights: subject.weights,
      floatFileBytes: subject.model.fileBytes,
      overheadBytes: largestOverhead(subject, layers),
      layers: layers.map(toMeasured),
      notices: journal.notices,
      timings: journal.timings,
    };
  } finally {
    arrays.close();
    await runtime.close();
  }
}

function fingerprintOf({ names, methods, data, seed }: Run, model: string): string {
  const { scorer, quantizer, target } = names;
  return fingerprint({
    model,
    calibrate: data.calibrate.fingerprint,
    search: data.search.fingerprint,
    scorer,
    quantizer,
    target,
    formats: methods.formats.map(({ id }) => id),
    quantize: methods.quantize,
    seed,
  });
}

const toMeasured = ({ layer, weights, block, importance, alternatives }: LayerAlternatives) => ({
  layer,
  weights,
  block: block ?? null,
  importance: importance ?? null,
  alternatives: alternatives.map(({ format, bytes, loss }) => ({ format: format.id, bytes, loss })),
});

/** Options of `planFormats`. */
export interface PlanOptions {
  /** "3.5bpw", "2.4MB", "25%". */
  readonly budget: string;
  /** Default "knapsack". */
  readonly allocator?: AllocatorName | Allocator | undefined;
  readonly pins?: readonly Pin[] | undefined;
  readonly minBits?: number | undefined;
  readonly maxBits?: number | undefined;
}

/**
 * Solves a plan from saved measurements. No gate: it needs the model, see `quantize`.
 *
 * Cost: milliseconds.
 *
 * @throws infeasible-budget, bad-option - see `allocateBits` and `applyConstraints`.
 */
export async function planFormats(
  measurements: Measurements,
  options: PlanOptions,
): Promise<BitPlan> {
  const { allocator = "knapsack", pins = [], minBits, maxBits } = options;
  const { scorer, quantizer, quantize, target, weights, floatFileBytes, overheadBytes } =
    measurements;
  const budgetBytes = budgetToBytes(parseBudget(options.budget), {
    weights,
    floatFileBytes,
    overheadBytes,
  });
  const offered = measurements.layers.map((layer) => toAlternatives(measurements, layer, pins));
  const layers = applyConstraints(offered, { pins, minBits, maxBits });
  const picks = await allocateBits({ layers, budgetBytes, allocator });
  const name = typeof allocator === "string" ? allocator : "custom";
  return toPlan(picks, { scorer, allocator: name, quantizer, target, budgetBytes, quantize });
}

/** float32 is measured for pins alone: unpinned layers get it only when it was asked for or nothing else is left. */
function toAlternatives(
  { formats }: Measurements,
  { layer, weights, block, importance, alternatives }: MeasuredLayer,
  pins: readonly Pin[],
): LayerAlternatives {
  const pin = pins.findLast(({ pattern }) => matchesPattern(pattern, layer));
  const float = float32Format.id;
  const wanted = formats.includes(float) || pin?.format.id === float || alternatives.length === 1;
  return {
    layer,
    weights,
    block: block ?? undefined,
    importance: importance ?? undefined,
    alternatives: alternatives
      .filter(({ format }) => wanted || format !== float)
      .map(({ format, bytes, loss }) => ({ layer, format: parseFormat(format), bytes, loss })),
  };
}

/**
 * Reads a measurements file.
 *
 * @throws bad-option - no readable measurements; names the field.
 */
export async function loadMeasurements(path: string): Promise<Measurements> {
  const json = (await readJson(path, "scores")) as Partial<Measurements> | null;
  const refuse = (where: string, expected: string, got: unknown): never => {
    throw new BitloomError(
      "bad-option",
      `Cannot use the scores "${path}": at ${where}, expected ${expected}, got ${(JSON.stringify(got) ?? "nothing").slice(0, 40)}. Make the file again with quantize score.`,
      { option: "scores", got: path },
    );
  };
  const check = (holds: boolean, where: string, expected: string, got: unknown) =>
    holds || refuse(where, expected, got);
  if (typeof json !== "object" || json === null) return refuse("the top level", "an object", json);
  check(json.version === 1 && json.command === "score", "version", "scores of version 1", {
    version: json.version,
    command: json.command,
  });
  for (const field of ["scorer", "quantizer", "target", "unit"] as const)
    check(typeof json[field] === "string", field, "a text", json[field]);
  for (const field of ["weights", "floatFileBytes", "overheadBytes"] as const)
    check(isCount(json[field]), field, "a whole number, zero or above", json[field]);
  check(isQuantization(json.quantize), "quantize", "grid, order and damping", json.quantize);
  check(isListOf(json.formats, isText), "formats", "a list of format ids", json.formats);
  if (!Array.isArray(json.layers)) return refuse("layers", "a list", json.layers);
  for (const [i, entry] of json.layers.entries())
    check(isMeasuredLayer(entry), `layers[${i}]`, "a scored layer", entry);
  return json as Measurements;
}

function isQuantization(value: unknown): boolean {
  const { grid, activationOrder, damping } = (value ?? {}) as PlannedQuantization;
  const isGrid = grid === "mse" || grid === "min-max";
  return isGrid && typeof activationOrder === "boolean" && Number.isFinite(damping) && damping >= 0;
}

const isText = (value: unknown) => typeof value === "string";
const isCount = (value: unknown) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isListOf = (value: unknown, is: (item: unknown) => boolean) =>
  Array.isArray(value) && value.every(is);

function isMeasuredLayer(value: unknown): boolean {
  const { layer, weights, block, importance, alternatives } = (value ?? {}) as MeasuredLayer;
  const isAlternative = (item: unknown) => {
    const { format, bytes, loss } = (item ?? {}) as MeasuredLayer["alternatives"][number];
    return isText(format) && isCount(bytes) && Number.isFinite(loss) && loss >= 0;
  };
  return (
    isText(layer) &&
    isCount(weights) &&
    (block === null || isText(block)) &&
    (importance === null || Number.isFinite(importance)) &&
    isListOf(alternatives, isAlternative) &&
    alternatives.length > 0
  );
}
