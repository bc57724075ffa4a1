/**
 * Predicted loss of every layer in every format it may take.
 */
import { invariant } from "../core/errors.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerLosses, ScoreInput, Scorer } from "../core/score.ts";
import { hessianTrace } from "./hessian-trace.ts";
import { hessianTraceLocal } from "./hessian-trace-local.ts";
import { lim } from "./lim.ts";
import { measuredKl } from "./measured-kl.ts";
import { outputErrorScorer } from "./output-error.ts";
import { weightError } from "./weight-error.ts";
import { zd } from "./zd.ts";

export { outputError } from "./losses.ts";
export { createLossProbe, type ProbeOptions } from "./probe.ts";

export const scorers = {
  "weight-error": weightError,
  lim,
  zd,
  "output-error": outputErrorScorer,
  "hessian-trace-local": hessianTraceLocal,
  "hessian-trace": hessianTrace,
  "measured-kl": measuredKl,
} satisfies Record<string, Scorer>;
export type ScorerName = keyof typeof scorers;

/** The scorer behind a name, or the caller's own. */
export const resolveScorer = (scorer: ScorerName | Scorer): Scorer =>
  typeof scorer === "string" ? scorers[scorer] : scorer;

/**
 * Scores every candidate and checks the answer: one finite, non-negative loss per format.
 */
export async function scoreLayers(
  input: ScoreInput,
  scorer: ScorerName | Scorer,
): Promise<ReadonlyMap<LayerId, LayerLosses>> {
  const scores = await resolveScorer(scorer).score(input);
  for (const { layer, formats } of input.candidates) {
    const losses = scores.get(layer.id)?.losses;
    invariant(losses?.length === formats.length, `a loss for every format of "${layer.id}"`);
    invariant(
      losses.every((loss) => Number.isFinite(loss) && loss >= 0),
      `finite, non-negative losses of "${layer.id}": ${losses.join(", ")}`,
    );
  }
  return scores;
}
