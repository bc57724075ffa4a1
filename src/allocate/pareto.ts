/**
 * The curve of best loss against bytes and the price of the next improvement: for the report and for choosing budgets.
 * Not an allocator: it knows only the corners that one price per byte reaches, `knapsack` knows what lies between.
 */
import type { LayerId } from "../core/layer.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { compareText, lossPerByte, lowerHull, undominated } from "./alternatives.ts";

/** A whole plan on the frontier, as one step from the point before it. */
export interface FrontierPoint {
  readonly bytes: number;
  readonly loss: number;
  /** The layer that changed and its new alternative; undefined for the first point (each layer at its smallest). */
  readonly upgrade: LayerScore | undefined;
  /** Loss saved per byte by this step; falls from step to step, 0 for the first point. */
  readonly lossPerByte: number;
}

/** One step of one layer along its hull. */
export interface HullStep {
  /** Position of the layer in the list. */
  readonly at: number;
  readonly from: LayerScore;
  readonly to: LayerScore;
  readonly lossPerByte: number;
}

/**
 * All hull steps of all layers, best loss per byte first. Steps of one layer keep their order, since its prices fall.
 *
 * Cost: O(S log S) for S alternatives in all.
 */
export function hullSteps(layers: readonly LayerAlternatives[]): HullStep[] {
  return layers
    .flatMap(({ alternatives }, at) => {
      const hull = lowerHull(undominated(alternatives));
      return hull.slice(1).map((to, i) => {
        const from = hull[i];
        return { at, from, to, lossPerByte: lossPerByte(from, to) };
      });
    })
    .sort((a, b) => b.lossPerByte - a.lossPerByte || compareText(a.to.layer, b.to.layer));
}

/**
 * The lower convex hull of (Σ bytes, Σ loss) over all plans, by greedy marginal analysis.
 *
 * Each point is the optimal plan for exactly its bytes; optimal plans for the budgets between two points lie on or
 * above the line between them.
 *
 * @returns points with rising bytes and falling loss, from each layer at its smallest to each at its best.
 *
 * Cost: O(S log S) for S alternatives in all.
 * Source: Everett 1963 (generalized Lagrange multipliers); Fox 1966 (marginal analysis).
 */
export function paretoFrontier(layers: readonly LayerAlternatives[]): FrontierPoint[] {
  const smallest = layers.map(({ alternatives }) => undominated(alternatives)[0]);
  let bytes = smallest.reduce((sum, pick) => sum + pick.bytes, 0);
  let loss = smallest.reduce((sum, pick) => sum + pick.loss, 0);
  const points: FrontierPoint[] = [{ bytes, loss, upgrade: undefined, lossPerByte: 0 }];
  for (const step of hullSteps(layers)) {
    bytes += step.to.bytes - step.from.bytes;
    // Rounding must not turn the sum of what is left below zero.
    loss = Math.max(0, loss - (step.from.loss - step.to.loss));
    points.push({ bytes, loss, upgrade: step.to, lossPerByte: step.lossPerByte });
  }
  return points;
}

/** What a layer would gain from more bytes. */
export interface UpgradePrice {
  readonly layer: LayerId;
  /** The larger alternative that saves most loss per byte; undefined when the layer is at its best. */
  readonly upgrade: LayerScore | undefined;
  /** Loss saved per byte by that upgrade; 0 when there is none. */
  readonly lossPerByte: number;
}

/**
 * The price of the next upgrade of each layer: where one more byte would help most.
 *
 * @param picks - one per layer, in the order of the layers.
 */
export function marginalPrice(
  picks: readonly LayerScore[],
  layers: readonly LayerAlternatives[],
): UpgradePrice[] {
  return layers.map(({ layer, alternatives }, at) => {
    const pick = picks[at];
    let upgrade: LayerScore | undefined;
    let best = 0;
    for (const alternative of undominated(alternatives)) {
      if (alternative.bytes <= pick.bytes) continue;
      const price = lossPerByte(pick, alternative);
      if (price > best) {
        best = price;
        upgrade = alternative;
      }
    }
    return { layer, upgrade, lossPerByte: best };
  });
}
