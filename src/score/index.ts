/**
 * Predicted loss of every layer in every format it may take.
 */
import { BitloomError, invariant } from "../core/errors.ts";
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

/** Registered scorers; the key is the file name. */
export const scorers = {
  "weight-error": weightError,
  lim,
  zd,
  "output-error": outputErrorScorer,
  "hessian-trace-local": hessianTraceLocal,
  "hessian-trace": hessianTrace,
  "measured-kl": measuredKl,
} satisfies Record<string, Scorer>;
/** Name of a registered scorer. */
export type ScorerName = keyof typeof scorers;

/** The scorer behind a name, or the caller's own. Throws `bad-option` for an unknown name. */
export function resolveScorer(scorer: ScorerName | Scorer): Scorer {
  if (typeof scorer !== "string") return scorer;
  if (Object.hasOwn(scorers, scorer)) return scorers[scorer];
  throw new BitloomError(
    "bad-option",
    `Unknown scorer "${String(scorer)}": expected one of ${Object.keys(scorers).join(", ")}.`,
    { option: "scorer", got: String(scorer) },
  );
}

/**
 * Scores every candidate and checks the answer: one finite, non-negative loss per format.
 *
 * @throws numeric - a loss is negative or not finite; names layer and format. bad-option - an own scorer left a layer
 *   or a format out. unsupported - the scorer is not defined on this graph. aborted.
 */
export async function scoreLayers(
  input: ScoreInput,
  scorer: ScorerName | Scorer,
): Promise<ReadonlyMap<LayerId, LayerLosses>> {
  const scores = await resolveScorer(scorer).score(input);
  for (const { layer, formats } of input.candidates) {
    const losses = scores.get(layer.id)?.losses ?? [];
    if (losses.length !== formats.length) {
      const fault = `${losses.length} losses for the ${formats.length} formats of "${layer.id}"`;
      invariant(typeof scorer !== "string", `scorer "${String(scorer)}" gave ${fault}`);
      throw new BitloomError(
        "bad-option",
        `The scorer broke its contract: expected one loss per format, got ${fault}. Correct its score().`,
        { option: "scorer" },
      );
    }
    const bad = losses.findIndex((loss) => !(Number.isFinite(loss) && loss >= 0));
    if (bad >= 0) {
      throw new BitloomError(
        "numeric",
        `The predicted loss of layer "${layer.id}" in ${formats[bad].id} is ${losses[bad]}: expected a finite number from 0. Keep the layer in float with --pin '${layer.id}=float32', or use another --scorer.`,
        { layer: layer.id, step: `score ${formats[bad].id}` },
      );
    }
  }
  return scores;
}
