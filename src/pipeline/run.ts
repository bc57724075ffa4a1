/**
 * One run: the model, its data, the methods and what they have measured so far. Every stage after the first takes it.
 */
import type { Allocator, AllocatorName } from "../allocate/index.ts";
import { type ArrayStore, type NeededStats, needsOf, unmeasured } from "../calibrate/index.ts";
import type { Algebra } from "../core/algebra.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { LayerScore } from "../core/plan.ts";
import type { Scorer } from "../core/score.ts";
import type { LayerStats, StatName } from "../core/stats.ts";
import { chooseLoss } from "../evaluate/index.ts";
import { sharedAlgebra } from "../math/algebra.ts";
import type { Model } from "../onnx/index.ts";
import { type Quantizer, resolveQuantizer } from "../quantize/index.ts";
import { rtn } from "../quantize/rtn.ts";
import { measuredLike, rewriteModel, type Target } from "../rewrite/index.ts";
import { defaultMemoryLimitBytes, type Loss, type WorkerRuntime } from "../runtime/index.ts";
import { resolveScorer } from "../score/index.ts";
import { fingerprintModel } from "./artefact.ts";
import { openData, type RunData } from "./data.ts";
import { requireFeasible } from "./feasible.ts";
import type { Journal } from "./journal.ts";
import {
  type ResolvedCorrection,
  type ResolvedMethods,
  resolveCorrectionOptions,
  resolveMethods,
  type StageOptions,
} from "./options.ts";
import { outlierStatistics } from "./outliers.ts";
import { fewRows, thinLayers } from "./rows.ts";
import { collectStatistics, type StatisticsOptions } from "./statistics.ts";
import { checkStatistics } from "./statistics-file.ts";
import { openSubject, type Subject } from "./subject.ts";
import { createWeightStore, type WeightStore } from "./weights.ts";

export interface Run {
  readonly options: StageOptions;
  readonly journal: Journal;
  readonly subject: Subject;
  readonly data: RunData;
  readonly runtime: WorkerRuntime;
  readonly scorer: Scorer;
  readonly allocator: AllocatorName | Allocator;
  readonly quantizer: Quantizer;
  readonly methods: ResolvedMethods;
  readonly seed: number;
  /** Loss of the calibration source: search and gate. */
  readonly searchLoss: Loss;
  /** Loss of the evaluation data. */
  readonly reportLoss: Loss;
  readonly stats: ReadonlyMap<LayerId, LayerStats>;
  readonly weights: WeightStore;
  readonly algebra: Algebra;
  readonly arrays: ArrayStore;
  readonly correction: ResolvedCorrection;
  readonly memoryLimitBytes: number;
  /** Plans are made with weights rounded to nearest: the model is so large that quantizing several plans takes too long. */
  readonly plansRounded: boolean;
  /** Names of the methods, for plans and reports. */
  readonly names: {
    readonly scorer: string;
    readonly allocator: string;
    readonly quantizer: string;
    readonly target: string;
  };
}

/** What is known before any long work. */
export interface Opened
  extends Pick<
    Run,
    | "options"
    | "subject"
    | "data"
    | "scorer"
    | "quantizer"
    | "methods"
    | "correction"
    | "memoryLimitBytes"
    | "plansRounded"
  > {
  /** Statistics that the scorer needs; none when a saved plan decides. */
  readonly scorerNeeds: readonly StatName[];
}

/**
 * Opens model and data and collects the statistics the methods need.
 *
 * @param needsScores - false when a saved plan decides, so the scorer's statistics are not collected.
 */
export async function prepareRun(
  modelPath: string,
  options: StageOptions,
  context: {
    readonly journal: Journal;
    readonly runtime: WorkerRuntime;
    readonly algebra?: Algebra | undefined;
    /** Holds what is large; the caller closes it when the run is over. */
    readonly arrays: ArrayStore;
    readonly needsScores: boolean;
    /** Called when model and data are open; what it throws ends the run. */
    readonly beforeWork?: ((opened: Opened) => Promise<void>) | undefined;
  },
): Promise<Run> {
  const { journal, runtime, arrays, needsScores } = context;
  const algebra = context.algebra ?? (await sharedAlgebra());
  const seed = options.seed ?? 0;
  const methods = resolveMethods(options);
  const correction = resolveCorrectionOptions(options);
  const scorer = resolveScorer(options.scorer ?? "measured-kl");
  const quantizer = resolveQuantizer(options.quantizer ?? "gptq");
  const allocator = options.allocator ?? "knapsack";
  const target = options.target ?? "portable";
  const subject = await journal.stage("open", () => openSubject(modelPath, target));
  const { budget, minBits, maxBits } = options;
  if (needsScores && budget !== undefined) {
    requireFeasible(subject, { ...methods, minBits, maxBits, budget });
  }
  const data = await journal.stage("data", () => openData(subject.model, { ...options, seed }));
  for (const notice of data.notices) journal.notify(notice);
  const { graph } = subject.model;
  const memoryLimitBytes = options.memoryLimitBytes ?? defaultMemoryLimitBytes;
  const scorerNeeds: readonly StatName[] = needsScores ? scorer.needs : [];
  const collect = (needs: NeededStats) =>
    statisticsOf(
      { subject, dataset: data.calibrate, needs, runtime, memoryLimitBytes, arrays },
      options,
      journal,
    );
  // A sequential run measures each layer when it comes to it; only planning wants all Hessians at once.
  const plansRounded =
    isSequential(subject, options) &&
    quantizer.needs.includes("hessian") &&
    hessianBytes(subject.layers) > memoryLimitBytes;
  if (plansRounded) {
    journal.notify({
      code: "planned-with-rtn",
      message: `Plans are compared with weights rounded to nearest: the Hessians of all layers would take ${(hessianBytes(subject.layers) / 1e6).toFixed(0)} MB, more than --memory-limit. The layers themselves are quantized with ${nameOf(options.quantizer ?? "gptq")}.`,
    });
  }
  const needsHessians = scorerNeeds.includes("hessian") || quantizer.needs.includes("hessian");
  const thin = needsHessians ? thinLayers(subject.layers, data.calibrate) : [];
  if (thin.length > 0) journal.notify(fewRows(thin, "will see"));
  await context.beforeWork?.({
    options,
    subject,
    data,
    scorer,
    quantizer,
    methods,
    correction,
    memoryLimitBytes,
    plansRounded,
    scorerNeeds,
  });
  const stats = await journal.stage("calibrate", () => {
    const all = [...new Set([...scorerNeeds, ...quantizer.needs])];
    if (!plansRounded) return collect(all);
    const late = new Set(unmeasured(subject.model, subject.layers));
    return collect((layer) => (late.has(layer) ? all : scorerNeeds));
  });
  return {
    options,
    journal,
    subject,
    data,
    runtime,
    scorer,
    allocator,
    quantizer,
    methods,
    seed,
    searchLoss: chooseLoss(graph, data.calibrate),
    reportLoss: chooseLoss(graph, data.evaluate),
    stats,
    plansRounded,
    weights: createWeightStore({
      quantizer: plansRounded ? rtn : quantizer,
      options: methods.quantize,
      stats,
      algebra,
      arrays,
      onEvent: journal.emit,
    }),
    algebra,
    arrays,
    correction,
    memoryLimitBytes,
    names: {
      scorer: nameOf(options.scorer ?? "measured-kl"),
      allocator: nameOf(allocator),
      quantizer: nameOf(options.quantizer ?? "gptq"),
      target: nameOf(target),
    },
  };
}

/** False for bfloat16 too: ONNX Runtime's JavaScript API has no such tensors to carry from layer to layer. */
export const isSequential = ({ layers }: Subject, { sequential }: StageOptions): boolean =>
  sequential !== false &&
  !layers.some(({ uses }) => uses.some(({ dtype }) => dtype === "bfloat16"));

/** Bytes of the float64 Hessians of all layers; those that read the same value share one. */
const hessianBytes = (layers: readonly Layer[]): number => {
  const sizes = new Map<string, number>();
  for (const { uses, groups, k } of layers) {
    for (const { opType, activation } of uses) {
      if (opType !== "Gather") sizes.set(activation, 8 * groups * k * k);
    }
  }
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
};

/** Saved statistics, checked; else collects them. */
async function statisticsOf(
  wanted: Omit<StatisticsOptions, "signal" | "onEvent">,
  { statistics, signal }: StageOptions,
  journal: Journal,
): Promise<ReadonlyMap<LayerId, LayerStats>> {
  const { subject, dataset } = wanted;
  if (!statistics) {
    const needs = (layer: Layer) => {
      const own = needsOf(wanted.needs, layer);
      return own.length > 0 ? [...new Set([...own, ...outlierStatistics])] : own;
    };
    return collectStatistics({ ...wanted, needs, signal, onEvent: journal.emit });
  }
  const model = await fingerprintModel(subject.model);
  const needs = [...new Set(subject.layers.flatMap((layer) => needsOf(wanted.needs, layer)))];
  checkStatistics(statistics, { model, data: dataset, needs });
  return statistics.layers;
}

/** The caller's own method objects have no registered name. */
const nameOf = (method: string | object): string =>
  typeof method === "string" ? method : "custom";

/** The quantized model that a list of picks makes; weights are quantized when it is opened or saved. */
export const buildModel = (run: Run, picks: readonly LayerScore[]): Model =>
  rewriteFor(run, picks, run.subject.target);

/** A model that computes the same, but for last bits, and is faster to measure; see `measuredLike`. */
export const buildMeasured = (run: Run, picks: readonly LayerScore[]): Model =>
  rewriteFor(run, picks, measuredLike(run.subject.target));

function rewriteFor(run: Run, picks: readonly LayerScore[], target: Target): Model {
  const { subject, weights, options } = run;
  const byLayer = new Map(picks.map((pick) => [pick.layer, pick.format]));
  const quantized = subject.layers.flatMap((layer) => {
    const format = byLayer.get(layer.id);
    return format ? [{ layer, format, weight: () => weights.codes(layer, format) }] : [];
  });
  return rewriteModel(subject.model, quantized, { target, functionBody: options.functionBody });
}
