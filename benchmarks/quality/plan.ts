/**
 * A plan to be measured, and when two plans are the same: many scorers and allocators arrive at one plan, which is
 * measured once.
 */
import { createHash } from "node:crypto";
import type { CorrectionName, LayerScore, QuantizerName } from "../../src/index.ts";

/** Layers rounded one by one, or in order with a correction. */
export type Propagation = "one-by-one" | CorrectionName;

export interface Plan {
  readonly quantizer: QuantizerName;
  readonly propagation: Propagation;
  readonly picks: readonly LayerScore[];
}

/** Equal for plans that make the same model. */
export function planId({ quantizer, propagation, picks }: Plan): string {
  const formats = picks.map(({ layer, format }) => [layer, format.id]).sort();
  const text = JSON.stringify([quantizer, propagation, formats]);
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

export function distinctPlans(plans: readonly Plan[]): Map<string, Plan> {
  return new Map(plans.map((plan) => [planId(plan), plan]));
}

export const bytesOf = (picks: readonly LayerScore[]): number =>
  picks.reduce((sum, { bytes }) => sum + bytes, 0);
