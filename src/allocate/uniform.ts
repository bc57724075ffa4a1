/**
 * One format for every layer: what tools without an allocator do, and the bar that a mixed plan must clear.
 * Not for mixing widths. Invariant: a uniform plan differs from its base format only where a layer does not offer it.
 */
import { BitloomError } from "../core/errors.ts";
import type { WeightFormat } from "../core/format.ts";
import type { AllocateInput, Allocator } from "../core/method.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import {
  compareByLoss,
  compareBySize,
  compareText,
  totalBytes,
  totalLoss,
} from "./alternatives.ts";
import { formatBytesApart } from "./budget.ts";

/** Every layer at one base format, or at what comes nearest where a layer does not offer it. */
export interface UniformPlan {
  readonly format: WeightFormat;
  /** One per layer, in the order of the layers. */
  readonly picks: readonly LayerScore[];
  readonly bytes: number;
  readonly loss: number;
}

/**
 * The alternative that stands in for a base format: the format itself if offered; else of the same width the one with
 * the smallest loss; else of the next higher width offered the one with the fewest bytes; else of the highest width
 * offered the one with the smallest loss.
 *
 * @param layer - at least one alternative.
 */
export function nearestAlternative(layer: LayerAlternatives, base: WeightFormat): LayerScore {
  const { alternatives } = layer;
  const exact = alternatives.find(({ format }) => format.id === base.id);
  if (exact) return exact;
  const ofWidth = (bits: number) => alternatives.filter(({ format }) => format.bits === bits);
  const sameWidth = ofWidth(base.bits).sort(compareByLoss);
  if (sameWidth.length > 0) return sameWidth[0];
  const widths = alternatives.map(({ format }) => format.bits);
  const higher = widths.filter((bits) => bits > base.bits);
  return higher.length > 0
    ? ofWidth(Math.min(...higher)).sort(compareBySize)[0]
    : ofWidth(Math.max(...widths)).sort(compareByLoss)[0];
}

/**
 * All uniform plans, one per base format, fewest bytes first (then lowest loss, then format id).
 *
 * Base formats are those of the layers that have a choice; a layer with a single alternative (pinned, or limited by
 * the target) does not suggest its own, or one layer pinned to float32 would make "everything at float32" a plan.
 *
 * Cost: O(F · Σ A) for F base formats and A alternatives per layer.
 */
export function uniformPlans(layers: readonly LayerAlternatives[]): UniformPlan[] {
  return baseFormats(layers)
    .map((format) => {
      const picks = layers.map((layer) => nearestAlternative(layer, format));
      return { format, picks, bytes: totalBytes(picks), loss: totalLoss(picks) };
    })
    .sort((a, b) => a.bytes - b.bytes || a.loss - b.loss || compareText(a.format.id, b.format.id));
}

function baseFormats(layers: readonly LayerAlternatives[]): WeightFormat[] {
  const withChoice = layers.filter(({ alternatives }) => alternatives.length > 1);
  const suggesting = withChoice.length > 0 ? withChoice : layers;
  const byId = new Map<string, WeightFormat>();
  for (const { alternatives } of suggesting) {
    for (const { format } of alternatives) byId.set(format.id, format);
  }
  return [...byId.values()];
}

/** The uniform plan with the lowest loss within a number of bytes (ties: fewest bytes), or undefined when none fits. */
export function bestUniformPlan(
  layers: readonly LayerAlternatives[],
  budgetBytes: number,
): UniformPlan | undefined {
  return uniformPlans(layers)
    .filter(({ bytes }) => bytes <= budgetBytes)
    .reduce<UniformPlan | undefined>(
      (best, plan) => (best === undefined || plan.loss < best.loss ? plan : best),
      undefined,
    );
}

/** The error of an allocator that builds on uniform plans when not even the smallest of them fits. */
export function noUniformPlanFits({ layers, budgetBytes }: AllocateInput): BitloomError {
  const plans = uniformPlans(layers);
  const minBytes = plans[0].bytes;
  const maxBytes = plans[plans.length - 1].bytes;
  const [got, least] = formatBytesApart(budgetBytes, minBytes);
  return new BitloomError(
    "infeasible-budget",
    `Budget ${got} is below the smallest uniform plan ${least} (${plans[0].format.id} wherever a layer offers it). Raise --budget, or use --allocator knapsack, which mixes formats.`,
    { budgetBytes, minBytes, maxBytes },
  );
}

/**
 * Allocates the same format everywhere.
 *
 * Throws: infeasible-budget when no uniform plan fits, although a mixed one might.
 */
export const uniform: Allocator = {
  summary: "one format for all layers, the best that fits",
  source: "baseline; no paper",
  needs: [],
  allocate(input) {
    if (input.layers.length === 0) return [];
    const best = bestUniformPlan(input.layers, input.budgetBytes);
    if (!best) throw noUniformPlanFits(input);
    return best.picks;
  },
};
