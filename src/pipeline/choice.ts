/**
 * The planning stage: formats inside the budget, or those of a saved plan; then the gate.
 */
import {
  allocateBits,
  applyConstraints,
  type Budget,
  budgetToBytes,
  picksFromPlan,
} from "../allocate/index.ts";
import { BitloomError, invariant } from "../core/errors.ts";
import { parseFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { BitPlan, LayerAlternatives, LayerScore } from "../core/plan.ts";
import { supports, weightBytes } from "../rewrite/index.ts";
import { scoreAlternatives } from "./alternatives.ts";
import { type GateResult, passGate } from "./gate.ts";
import { buildModel, type Run } from "./run.ts";

export interface Choice {
  /** What each layer could have had, after the constraints. */
  readonly alternatives: readonly LayerAlternatives[];
  readonly picks: readonly LayerScore[];
  readonly budgetBytes: number;
  readonly scoreUnit: string;
  /** Undefined when a saved plan was replayed as it is. */
  readonly gate: GateResult | undefined;
}

/** Scores, allocates and passes the gate. */
export async function chooseFormats(run: Run, budget: Budget): Promise<Choice> {
  const { journal } = run;
  const scored = await journal.stage("score", () => scoreAlternatives(run));
  const plan = await journal.stage("plan", () => solve(run, scored, budget));
  const gate = await journal.stage("gate", () =>
    passGate({
      float: run.subject.model,
      layers: plan.alternatives,
      picks: plan.picks,
      build: (picks) => buildModel(run, picks),
      dataset: run.data.gate,
      loss: run.searchLoss,
      runtime: run.runtime,
      signal: run.options.signal,
      onEvent: journal.emit,
    }),
  );
  if (gate.winner === "uniform" && gate.uniform) {
    journal.notify({
      code: "uniform-wins",
      message: `On the gate split uniform ${gate.uniform.format} is better (${gate.uniform.loss.toPrecision(3)} against ${gate.planLoss.toPrecision(3)} ${run.searchLoss.unit}); the uniform plan is written.`,
    });
  }
  return { ...plan, picks: gate.picks, scoreUnit: run.scorer.forward ? run.searchLoss.unit : run.scorer.unit, gate };
}

/** Rounds of solving for a file size: the nodes and functions that a plan adds are known only once it is made. */
const fileSizeRounds = 8;

/**
 * For budgets that speak of the file, the space left for weights is corrected by the size the planned file really
 * has until it fits. The last round reserves more than any plan has needed so far.
 */
async function solve(
  run: Run,
  scored: readonly LayerAlternatives[],
  budget: Budget,
): Promise<Pick<Choice, "alternatives" | "picks" | "budgetBytes">> {
  const { subject, methods, options, allocator } = run;
  const { minBits, maxBits } = options;
  const alternatives = applyConstraints(scored, { pins: methods.pins, minBits, maxBits });
  const floatFileBytes = subject.model.fileBytes;
  let overheadBytes = floatFileBytes - subject.floatWeightBytes;
  for (let round = 1; ; round++) {
    const budgetBytes = budgetToBytes(budget, {
      weights: subject.weights,
      floatFileBytes,
      overheadBytes,
    });
    const picks = await allocateBits({ layers: alternatives, budgetBytes, allocator });
    if (budget.kind === "bits-per-weight") return { alternatives, picks, budgetBytes };
    const weightsInPlan = picks.reduce((sum, { bytes }) => sum + bytes, 0);
    const needed = buildModel(run, picks).fileBytes - weightsInPlan;
    if (needed <= overheadBytes) return { alternatives, picks, budgetBytes };
    invariant(round < fileSizeRounds, "the planned file's overhead settles");
    overheadBytes = needed;
  }
}

/**
 * The picks of a saved plan, with this file's bytes; losses are those it was saved with.
 *
 * @throws bad-option - the plan names other layers than the model has, or a format that the target cannot hold.
 */
export function replayPlan(run: Run, plan: BitPlan): Choice {
  const { layers, target, opset } = run.subject;
  const byLayer = new Map(plan.layers.map((entry) => [entry.layer, entry]));
  const alternatives = layers.map((layer) => {
    const entry = byLayer.get(layer.id);
    const format = entry && plannedFormat(run, layer, entry.format);
    return {
      layer: layer.id,
      weights: layer.n * layer.k,
      alternatives:
        entry && format
          ? [
              {
                layer: layer.id,
                format,
                bytes: weightBytes(target, layer, format, opset),
                loss: entry.loss,
              },
            ]
          : [],
    };
  });
  return {
    alternatives,
    picks: picksFromPlan(plan, alternatives),
    budgetBytes: plan.budgetBytes,
    scoreUnit: `as saved in the plan (${plan.scorer})`,
    gate: undefined,
  };
}

function plannedFormat({ subject, names }: Run, layer: Layer, id: string) {
  const format = parseFormat(id);
  const answer = supports(subject.target, layer, format, subject.opset);
  if (answer === true) return format;
  throw new BitloomError(
    "bad-option",
    `The plan gives layer "${layer.id}" the format ${id}, which target ${names.target} cannot hold: ${answer}. Change the plan or --target.`,
    { option: "plan", got: id },
  );
}
