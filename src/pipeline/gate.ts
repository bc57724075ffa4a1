/**
 * The gate: on data that neither calibration nor search has seen, the plan must not be worse than uniform bits at no
 * more bytes; otherwise the uniform plan is written.
 */
import { type UniformPlan, uniformPlans } from "../allocate/index.ts";
import type { Dataset } from "../core/dataset.ts";
import type { RunOptions } from "../core/events.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { lossOf, measureModels, requireFinite } from "../evaluate/index.ts";
import type { Model } from "../onnx/index.ts";
import type { Loss, WorkerRuntime } from "../runtime/index.ts";

export interface GateOptions extends RunOptions {
  readonly float: Model;
  readonly layers: readonly LayerAlternatives[];
  readonly picks: readonly LayerScore[];
  /** The model that a list of picks makes. */
  build(picks: readonly LayerScore[]): Model;
  /** One that computes the same and is faster to measure. */
  buildMeasured(picks: readonly LayerScore[]): Model;
  /** False when the file would be over a budget that speaks of the file: its graph may be larger than the plan's. */
  fits(model: Model): boolean;
  readonly dataset: Dataset;
  readonly loss: Loss;
  readonly runtime: WorkerRuntime;
  readonly memoryLimitBytes: number;
}

export interface GateResult {
  /** What is written. */
  readonly winner: "plan" | "uniform";
  readonly picks: readonly LayerScore[];
  /** Measured loss on the gate split, in the loss's unit. */
  readonly planLoss: number;
  /** The best uniform plan at no more bytes; undefined when none fits. */
  readonly uniform:
    | { readonly format: string; readonly bytes: number; readonly loss: number }
    | undefined;
}

/** Uniform plans that are measured: the best predicted ones. Prediction is not exact, so more than one. */
const measuredUniformPlans = 3;

/**
 * Cost: one pass over the gate split for the float model, the plan and up to three uniform plans.
 *
 * @throws numeric - the best of these models computes NaN.
 */
export async function passGate(options: GateOptions): Promise<GateResult> {
  const { layers, picks, build, buildMeasured } = options;
  const bytes = picks.reduce((sum, pick) => sum + pick.bytes, 0);
  const candidates = uniformPlans(layers)
    .filter((plan) => plan.bytes <= bytes)
    .sort((a, b) => a.loss - b.loss || a.bytes - b.bytes);
  const uniform: UniformPlan[] = [];
  for (const plan of candidates) {
    if (uniform.length === measuredUniformPlans) break;
    if (options.fits(build(plan.picks))) uniform.push(plan);
  }
  const models = [picks, ...uniform.map((plan) => plan.picks)].map(buildMeasured);
  const qualities = await measureModels({ ...options, quantized: models });
  // A model that computes NaN is the worst there is; it may lose, but never be written.
  const [planLoss, ...losses] = qualities.map((quality) => {
    const loss = lossOf(quality);
    return Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss;
  });
  const best = losses.indexOf(Math.min(...losses));
  const loses = best >= 0 && losses[best] < planLoss;
  requireFinite(qualities[loses ? best + 1 : 0]);
  if (best < 0) return { winner: "plan", picks, planLoss, uniform: undefined };
  const plan = uniform[best];
  return {
    winner: loses ? "uniform" : "plan",
    picks: loses ? plan.picks : picks,
    planLoss,
    uniform: { format: plan.format.id, bytes: plan.bytes, loss: losses[best] },
  };
}
