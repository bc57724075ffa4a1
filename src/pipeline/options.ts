/**
 * The options of a run and their defaults.
 */
import { type Allocator, type AllocatorName, allocators, type Pin } from "../allocate/index.ts";
import type { RunOptions } from "../core/events.ts";
import type { WeightFormat } from "../core/format.ts";
import { defaultQuantizeOptions, type QuantizeOptions } from "../core/method.ts";
import type { BitPlan, PlannedQuantization } from "../core/plan.ts";
import type { Scorer } from "../core/score.ts";
import {
  type Correction,
  type CorrectionName,
  corrections,
  resolveCorrection,
} from "../correct/index.ts";
import { type Quantizer, type QuantizerName, quantizers } from "../quantize/index.ts";
import { type RewriteOptions, type Target, type TargetName, targets } from "../rewrite/index.ts";
import { type ScorerName, scorers } from "../score/index.ts";
import type { DataOptions } from "./data.ts";
import type { CollectedStatistics } from "./statistics-file.ts";
import { defaultFormats } from "./subject.ts";

export interface MethodOptions {
  /** Predicts the damage of each choice. Default "measured-kl". */
  readonly scorer?: ScorerName | Scorer | undefined;
  /** Chooses one format per layer. Default "knapsack". */
  readonly allocator?: AllocatorName | Allocator | undefined;
  /** Turns weights into codes. Default "gptq". */
  readonly quantizer?: QuantizerName | Quantizer | undefined;
  /** How codes appear in the graph. Default "portable". */
  readonly target?: TargetName | Target | undefined;
  /** Formats on offer. Default every width with blocks of 32, 64 and 128, symmetric and asymmetric. */
  readonly formats?: readonly WeightFormat[] | undefined;
  readonly pins?: readonly Pin[] | undefined;
  readonly minBits?: number | undefined;
  readonly maxBits?: number | undefined;
  readonly grid?: QuantizeOptions["grid"] | undefined;
  readonly activationOrder?: boolean | undefined;
  readonly damping?: number | undefined;
  /**
   * Quantizes layer after layer, each against what the layers before it really give; false rounds every layer as if
   * it were the only one. Default true.
   */
  readonly sequential?: boolean | undefined;
  /** Moves the weights against the error that reaches them; sequential only. Default "auto". */
  readonly correction?: CorrectionName | Correction | undefined;
  /** Strength of the correction, 0 .. 1; by default the method's own. */
  readonly correctionAlpha?: number | undefined;
  /** Relative damping of the correction; by default the method's own. */
  readonly correctionDamping?: number | undefined;
}

export interface RunSettings extends RunOptions {
  readonly seed?: number | undefined;
  /** Worker threads; they change the time, never the result. Default 2. */
  readonly threads?: number | undefined;
  /**
   * Bytes of weights that are open at once, half as much of activations, a quarter of statistics and codes; the model
   * runs in segments, and the rest stays in files. Peak memory is about three times this, or what the largest layer
   * needs. Default 512 MiB.
   */
  readonly memoryLimitBytes?: number | undefined;
  /** Turns notices into errors. */
  readonly strict?: boolean | undefined;
}

/** What every stage from data to plan takes. */
export interface StageOptions
  extends MethodOptions,
    Partial<Omit<DataOptions, "seed">>,
    RunSettings {
  /** "3.5bpw", "2.4MB", "25%". Not needed with a saved plan. */
  readonly budget?: string | undefined;
  readonly functionBody?: RewriteOptions["functionBody"];
  /** Saved statistics, used instead of collecting them; stale ones are refused. */
  readonly statistics?: CollectedStatistics | undefined;
}

export interface QuantizePipelineOptions extends StageOptions {
  /** Where the quantized model goes. */
  readonly output: string;
  /** Replaces existing files. */
  readonly force?: boolean | undefined;
  /** A saved plan: its formats are used as they are, nothing is scored. */
  readonly plan?: BitPlan | undefined;
  /**
   * Folder for finished layers, from which an interrupted run goes on; removed when the output is written. Default
   * "<output>.checkpoint"; false keeps none.
   */
  readonly checkpoint?: string | false | undefined;
  readonly externalData?: "auto" | "always" | "never" | undefined;
  /** Most KL divergence to the float model, nats per token; above it nothing is written. */
  readonly maxKlDivergence?: number | undefined;
  /** Most relative rise of perplexity, 0.03 for 3 %; above it nothing is written. */
  readonly maxPerplexityIncrease?: number | undefined;
}

/** A saved plan also says which methods made it; options that are given win over it. */
export function withPlanMethods(options: QuantizePipelineOptions): QuantizePipelineOptions {
  const { plan } = options;
  if (!plan) return options;
  // Methods of the plan's author ("custom") are not known here.
  const known = <R extends object>(registry: R, name: string) =>
    Object.hasOwn(registry, name) ? (name as Extract<keyof R, string>) : undefined;
  return {
    ...options,
    scorer: options.scorer ?? known(scorers, plan.scorer),
    allocator: options.allocator ?? known(allocators, plan.allocator),
    quantizer: options.quantizer ?? known(quantizers, plan.quantizer),
    target: options.target ?? known(targets, plan.target),
    grid: options.grid ?? plan.quantize?.grid,
    activationOrder: options.activationOrder ?? plan.quantize?.activationOrder,
    damping: options.damping ?? plan.quantize?.damping,
    ...withPlanCorrection(options, plan.quantize),
  };
}

/** Options that are given win, all of them together: a strength belongs to its method. */
function withPlanCorrection(
  options: MethodOptions,
  planned: BitPlan["quantize"],
): Pick<MethodOptions, "sequential" | "correction" | "correctionAlpha" | "correctionDamping"> {
  const { sequential, correction } = options;
  const name = planned?.correction;
  if (sequential !== undefined || correction !== undefined || name === undefined) return {};
  if (name === "one-shot") return { sequential: false };
  if (!Object.hasOwn(corrections, name)) return {};
  return {
    correction: name as CorrectionName,
    correctionAlpha: options.correctionAlpha ?? planned?.correctionAlpha,
    correctionDamping: options.correctionDamping ?? planned?.correctionDamping,
  };
}

/** How a run carries errors from layer to layer, as its plan says it; nothing where it is the default. */
export function plannedCorrection(
  options: MethodOptions,
): Pick<PlannedQuantization, "correction" | "correctionAlpha" | "correctionDamping"> {
  if (options.sequential === false) return { correction: "one-shot" };
  if (options.correction === undefined) return {};
  const { name, options: parameters } = resolveCorrectionOptions(options);
  return {
    correction: name,
    correctionAlpha: parameters.alpha,
    correctionDamping: parameters.damping,
  };
}

/** A correction with the name that reports give it. */
export interface ResolvedCorrection {
  readonly name: string;
  readonly method: Correction;
  /** As it was asked for. */
  readonly given: CorrectionName | Correction;
  readonly options: { readonly alpha?: number | undefined; readonly damping?: number | undefined };
}

export function resolveCorrectionOptions(options: MethodOptions): ResolvedCorrection {
  const { correction = "auto", correctionAlpha: alpha, correctionDamping: damping } = options;
  return {
    name: typeof correction === "string" ? correction : "custom",
    method: resolveCorrection(correction),
    given: correction,
    options: { alpha, damping },
  };
}

export interface ResolvedMethods {
  readonly formats: readonly WeightFormat[];
  readonly pins: readonly Pin[];
  readonly quantize: QuantizeOptions;
}

/** Defaults filled in, once, for every stage. */
export function resolveMethods(options: MethodOptions): ResolvedMethods {
  const { grid, activationOrder, damping } = defaultQuantizeOptions;
  return {
    formats: options.formats ?? defaultFormats(options.target),
    pins: options.pins ?? [],
    quantize: {
      grid: options.grid ?? grid,
      activationOrder: options.activationOrder ?? activationOrder,
      damping: options.damping ?? damping,
    },
  };
}
