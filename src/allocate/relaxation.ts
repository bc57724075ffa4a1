/**
 * The knapsack with a price per byte instead of a budget: a good plan and a bound that no plan can beat.
 * Not exact by itself: `knapsack` starts here and closes the gap. Invariant: the plan fits the budget.
 */
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { totalBytes, undominated } from "./alternatives.ts";
import { hullSteps } from "./pareto.ts";

export interface Relaxation {
  /** One per layer, Σ bytes ≤ budget. */
  readonly picks: readonly LayerScore[];
  /** λ: loss per byte at which the hull plan crosses the budget; 0 when every layer's best fits. */
  readonly price: number;
}

/**
 * Solves the Lagrangian relaxation and rounds it to a plan.
 *
 *   λ = the price of the first hull step, by falling loss per byte, that does not fit the budget
 *
 * Later steps of other layers that still fit are taken, then single exchanges (`fillBudget`).
 *
 * @param layers - smallest alternatives together within the budget.
 *
 * Cost: O(S log S) for S alternatives in all, plus O(S) per exchange.
 * Source: Sinha and Zoltners 1979 (multiple-choice knapsack), greedy over the convex hulls.
 */
export function relax(layers: readonly LayerAlternatives[], budgetBytes: number): Relaxation {
  const picks = layers.map(({ alternatives }) => undominated(alternatives)[0]);
  let bytes = totalBytes(picks);
  let price = 0;
  const stopped = new Set<number>();
  for (const step of hullSteps(layers)) {
    const fits = bytes + step.to.bytes - step.from.bytes <= budgetBytes;
    if (!fits && price === 0) price = step.lossPerByte;
    // A layer that missed a step cannot take its next one, which starts from there.
    if (!fits) stopped.add(step.at);
    if (stopped.has(step.at)) continue;
    picks[step.at] = step.to;
    bytes += step.to.bytes - step.from.bytes;
  }
  return { picks: fillBudget(layers, picks, budgetBytes), price };
}

/**
 * Spends what is left of the budget: exchanges one layer's alternative at a time, always the one that lowers the loss
 * most and fits, until none does. Ties go to the earlier layer and the smaller alternative.
 *
 * Numerics: exchanges strictly lower the layer's loss, so it ends.
 */
export function fillBudget(
  layers: readonly LayerAlternatives[],
  start: readonly LayerScore[],
  budgetBytes: number,
): LayerScore[] {
  const picks = [...start];
  const candidates = layers.map(({ alternatives }) => undominated(alternatives));
  let spare = budgetBytes - totalBytes(picks);
  for (;;) {
    let best: { at: number; to: LayerScore; gain: number } | undefined;
    for (const [at, alternatives] of candidates.entries()) {
      for (const to of alternatives) {
        const gain = picks[at].loss - to.loss;
        if (gain > (best?.gain ?? 0) && to.bytes - picks[at].bytes <= spare)
          best = { at, to, gain };
      }
    }
    if (!best) return picks;
    spare -= best.to.bytes - picks[best.at].bytes;
    picks[best.at] = best.to;
  }
}
