/**
 * What plans are possible at all, from shapes alone: so that a pin that matches nothing or a budget that cannot be met
 * fails before hours of scoring, and for inspection.
 */
import {
  applyConstraints,
  type Budget,
  budgetToBytes,
  checkFeasible,
  formatBytes,
  formatsFor,
  type Pin,
  parseBudget,
} from "../allocate/index.ts";
import { BitloomError, isBitloomError } from "../core/errors.ts";
import { float32Format, type WeightFormat, withScaleType } from "../core/format.ts";
import type { LayerAlternatives } from "../core/plan.ts";
import { supports, weightBytes } from "../rewrite/index.ts";
import { fittingFormats, type Subject } from "./subject.ts";

/**
 * Every layer with its exact bytes in every format it may take, all losses 0. Assumes that scales fit the target's
 * scale type: with float32 scales a layer takes more.
 *
 * Cost: no weight is read.
 */
export function unscoredAlternatives(
  { layers, target, opset }: Subject,
  { formats, pins = [] }: { formats: readonly WeightFormat[]; pins?: readonly Pin[] | undefined },
): LayerAlternatives[] {
  return layers.map((layer) => {
    const pinned = formatsFor(layer.id, pins);
    const asked = pinned.length > 0 ? pinned : formats;
    const possible = fittingFormats(asked, layer, pinned.length > 0)
      .map((format) => withScaleType(format, target.scaleType))
      .filter((format) => supports(target, layer, format, opset) === true);
    const offered = possible.length > 0 ? possible : [float32Format];
    const alternatives = offered.map((format) => {
      const bytes = weightBytes(target, layer, format, opset);
      return { layer: layer.id, format, bytes, loss: 0 };
    });
    return { layer: layer.id, weights: layer.n * layer.k, alternatives };
  });
}

/**
 * Refuses pins, widths and budgets that no plan can meet.
 *
 * @throws bad-option, infeasible-budget - as allocation would, only earlier.
 */
export function requireFeasible(
  subject: Subject,
  options: {
    readonly formats: readonly WeightFormat[];
    readonly pins: readonly Pin[];
    readonly minBits?: number | undefined;
    readonly maxBits?: number | undefined;
    readonly budget: string;
  },
): void {
  const { weights, floatWeightBytes, model } = subject;
  const layers = applyConstraints(unscoredAlternatives(subject, options), options);
  const floatFileBytes = model.fileBytes;
  const overheadBytes = floatFileBytes - floatWeightBytes;
  const budget = parseBudget(options.budget);
  try {
    checkFeasible(layers, budgetToBytes(budget, { weights, floatFileBytes, overheadBytes }));
  } catch (error) {
    throw explainBudget(subject, budget, error);
  }
}

/** The written file's limit in bytes; infinite for budgets that speak of the weights only. */
export function fileLimit({ weights, model }: Subject, budget: Budget): number {
  if (budget.kind === "bits-per-weight") return Number.POSITIVE_INFINITY;
  return budgetToBytes(budget, { weights, floatFileBytes: model.fileBytes, overheadBytes: 0 });
}

/** Says what of a file budget is left for weights, which is all that the allocator can speak of. */
export function explainBudget(subject: Subject, budget: Budget, error: unknown): unknown {
  const limit = fileLimit(subject, budget);
  if (!isBitloomError(error, "infeasible-budget") || !Number.isFinite(limit)) return error;
  const others = subject.model.fileBytes - subject.floatWeightBytes;
  return new BitloomError(
    "infeasible-budget",
    `A file of ${formatBytes(limit)} has no room for this model: ${formatBytes(others)} are graph and tensors that stay as they are, the rest is for weights and the nodes of quantized layers. ${error.message}`,
    error.detail,
    { cause: error },
  );
}
