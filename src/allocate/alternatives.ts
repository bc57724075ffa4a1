/**
 * Small pure functions over alternatives and picks that every allocator shares: totals, order, dominance, hull.
 * Not here: any decision. Invariant: nothing is modified, and equal inputs in any order give equal outputs.
 */
import type { LayerScore } from "../core/plan.ts";

/** Σ bytes of the picks. */
export function totalBytes(picks: readonly LayerScore[]): number {
  return picks.reduce((sum, pick) => sum + pick.bytes, 0);
}

/** Σ loss of the picks. */
export function totalLoss(picks: readonly LayerScore[]): number {
  return picks.reduce((sum, pick) => sum + pick.loss, 0);
}

/** Order of strings by code unit: the same on every machine, unlike a locale's. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Fewest bytes first, then lowest loss, then format id: a total order over one layer's alternatives. */
export function compareBySize(a: LayerScore, b: LayerScore): number {
  return a.bytes - b.bytes || a.loss - b.loss || compareText(a.format.id, b.format.id);
}

/** Lowest loss first, then fewest bytes, then format id. */
export function compareByLoss(a: LayerScore, b: LayerScore): number {
  return a.loss - b.loss || a.bytes - b.bytes || compareText(a.format.id, b.format.id);
}

/**
 * Drops every alternative that costs at least as many bytes as another one without less loss.
 *
 * @returns alternatives with strictly rising bytes and strictly falling loss; never empty for a non-empty input.
 *
 * Cost: O(A log A) for A alternatives.
 */
export function undominated(alternatives: readonly LayerScore[]): LayerScore[] {
  const kept: LayerScore[] = [];
  for (const alternative of [...alternatives].sort(compareBySize)) {
    if (kept.length === 0 || alternative.loss < kept[kept.length - 1].loss) kept.push(alternative);
  }
  return kept;
}

/**
 * The corners of the lower convex hull of (bytes, loss): what Lagrangian prices can reach.
 *
 * @param alternatives - as `undominated` returns them.
 * @returns a subsequence; the loss saved per byte falls strictly from one step to the next.
 *
 * Cost: O(A).
 */
export function lowerHull(alternatives: readonly LayerScore[]): LayerScore[] {
  const hull: LayerScore[] = [];
  for (const next of alternatives) {
    while (hull.length >= 2) {
      const last = hull[hull.length - 1];
      if (lossPerByte(hull[hull.length - 2], last) > lossPerByte(last, next)) break;
      hull.pop();
    }
    hull.push(next);
  }
  return hull;
}

/** Loss saved per byte spent when moving from one alternative to a larger one: `(loss_a − loss_b) / (bytes_b − bytes_a)`. */
export function lossPerByte(from: LayerScore, to: LayerScore): number {
  return (from.loss - to.loss) / (to.bytes - from.bytes);
}
