/**
 * What plans are possible at all, from shapes alone: so that a pin that matches nothing or a budget that cannot be met
 * fails before hours of scoring, and for inspection.
 */
import {
  applyConstraints,
  budgetToBytes,
  checkFeasible,
  formatsFor,
  type Pin,
  parseBudget,
} from "../allocate/index.ts";
import { float32Format, type WeightFormat, withScaleType } from "../core/format.ts";
import type { LayerAlternatives } from "../core/plan.ts";
import { supports, weightBytes } from "../rewrite/index.ts";
import type { Subject } from "./subject.ts";

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
    const possible = (pinned.length > 0 ? pinned : formats)
      .map((format) => withScaleType(format, target.scaleType))
      .filter((format) => supports(target, layer, format, opset) === true)
      .filter((format) => format.kind === "float" || format.blockSize < 2 * layer.k);
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
  const basis = { weights, floatFileBytes, overheadBytes };
  checkFeasible(layers, budgetToBytes(parseBudget(options.budget), basis));
}
