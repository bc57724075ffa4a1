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
import { BitloomError, invariant, isBitloomError } from "../core/errors.ts";
import { parseFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { BitPlan, LayerAlternatives, LayerScore } from "../core/plan.ts";
import { supports, weightBytes } from "../rewrite/index.ts";
import { scoreAlternatives } from "./alternatives.ts";
import { explainBudget, fileLimit } from "./feasible.ts";
import { type GateResult, passGate } from "./gate.ts";
import { buildMeasured, buildModel, type Run } from "./run.ts";

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
      buildMeasured: (picks) => buildMeasured(run, picks),
      fits: (model) => model.fileBytes <= fileLimit(run.subject, budget),
      dataset: run.data.gate,
      loss: run.searchLoss,
      runtime: run.runtime,
      memoryLimitBytes: run.memoryLimitBytes,
      signal: run.options.signal,
      onEvent: journal.emit,
    }),
  );
  // What was rounded to nearest is not written.
  if (run.plansRounded) run.weights.forget();
  if (gate.winner === "uniform" && gate.uniform) {
    journal.notify({
      code: "uniform-wins",
      message: `On the gate split uniform ${gate.uniform.format} is better (${gate.uniform.loss.toPrecision(3)} against ${gate.planLoss.toPrecision(3)} ${run.searchLoss.unit}); the uniform plan is written.`,
    });
  }
  return {
    ...plan,
    picks: gate.picks,
    scoreUnit: run.scorer.forward ? run.searchLoss.unit : run.scorer.unit,
    gate,
  };
}

async function solve(
  run: Run,
  scored: readonly LayerAlternatives[],
  budget: Budget,
): Promise<Pick<Choice, "alternatives" | "picks" | "budgetBytes">> {
  const { minBits, maxBits } = run.options;
  const alternatives = applyConstraints(scored, { pins: run.methods.pins, minBits, maxBits });
  let offered: readonly LayerAlternatives[] | undefined = alternatives;
  let failure: unknown;
  while (offered) {
    try {
      return { alternatives, ...(await solveWith(run, offered, budget)) };
    } catch (error) {
      if (!isBitloomError(error, "infeasible-budget")) throw error;
      failure ??= error;
      // A tight file budget may have room for plans that add little to the graph.
      offered = Number.isFinite(fileLimit(run.subject, budget))
        ? withoutCostliest(run, offered)
        : undefined;
    }
  }
  throw explainBudget(run.subject, budget, failure);
}

/** Rounds of solving for a file size: the nodes and functions that a plan adds are known only once it is made. */
const fileSizeRounds = 16;
/** After these rounds growing slack is reserved, so that plans of ever new shapes come to an end. */
const exactRounds = 5;
const slackBytes = 64;

/**
 * For budgets that speak of the file, the space left for weights is corrected by the size the planned file really
 * has until it fits. Each round reserves what the plan before has needed, which is more than the round before.
 */
async function solveWith(
  run: Run,
  layers: readonly LayerAlternatives[],
  budget: Budget,
): Promise<Pick<Choice, "picks" | "budgetBytes">> {
  const { weights, floatWeightBytes, model } = run.subject;
  const floatFileBytes = model.fileBytes;
  let overheadBytes = floatFileBytes - floatWeightBytes;
  for (let round = 1; ; round++) {
    const budgetBytes = budgetToBytes(budget, { weights, floatFileBytes, overheadBytes });
    const picks = await allocateBits({ layers, budgetBytes, allocator: run.allocator });
    if (budget.kind === "bits-per-weight") return { picks, budgetBytes };
    const needed = graphBytes(run, picks);
    if (needed <= overheadBytes) return { picks, budgetBytes };
    invariant(round < fileSizeRounds, "the planned file's overhead settles");
    overheadBytes = needed + (round > exactRounds ? slackBytes * 2 ** (round - exactRounds) : 0);
  }
}

/** Bytes of the file that are not quantizable weights: nodes, functions, other tensors. */
const graphBytes = (run: Run, picks: readonly LayerScore[]) =>
  buildModel(run, picks).fileBytes - picks.reduce((sum, { bytes }) => sum + bytes, 0);

/** The alternatives without the width that adds most to the graph; undefined when all widths add the same. */
function withoutCostliest(
  run: Run,
  layers: readonly LayerAlternatives[],
): readonly LayerAlternatives[] | undefined {
  const widths = new Set(
    layers.flatMap(({ alternatives }) => alternatives.map(({ format }) => format.bits)),
  );
  const costs = [...widths].map((bits) => {
    const picks = layers.map(({ alternatives }) => {
      const ofWidth = alternatives.find(({ format }) => format.bits === bits);
      return ofWidth ?? alternatives.reduce((a, b) => (b.bytes < a.bytes ? b : a));
    });
    return { bits, bytes: graphBytes(run, picks) };
  });
  const [most, ...others] = costs.sort((a, b) => b.bytes - a.bytes || b.bits - a.bits);
  if (others.every(({ bytes }) => bytes === most.bytes)) return undefined;
  return layers.map((layer) => {
    const kept = layer.alternatives.filter(({ format }) => format.bits !== most.bits);
    return kept.length > 0 ? { ...layer, alternatives: kept } : layer;
  });
}

/**
 * The picks of a saved plan, with this file's bytes; losses are those it was saved with. A plan that was edited beyond
 * its own budget is the caller's will: it is kept, with a notice.
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
  const picks = picksFromPlan(plan, alternatives);
  const planned = picks.reduce((sum, { bytes }) => sum + bytes, 0);
  if (planned > plan.budgetBytes) {
    run.journal.notify({
      code: "plan-over-budget",
      message: `The plan's weights take ${planned} bytes, ${planned - plan.budgetBytes} more than the ${plan.budgetBytes} bytes it was made for; it is applied as it is.`,
    });
  }
  return {
    alternatives,
    picks,
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
