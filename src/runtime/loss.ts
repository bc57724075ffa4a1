/**
 * A loss against the float model, compiled into the graph: the float model gives reference values, any model with the
 * same outputs is compared with them, and only small results leave the session.
 */
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";

/** A loss against the float model, compiled into the graph. */
export interface Loss {
  /** "language": KL in nats per token. "outputs": relative squared error, summed over the outputs. */
  readonly kind: "language" | "outputs";
  readonly unit: "nats per token" | "relative squared error";
  /** The float model with its reference values as outputs. */
  reference(model: Model): { readonly model: Model; readonly outputs: readonly string[] };
  /**
   * A model that takes the reference values as inputs (named as `reference` named them, in order) and gives results.
   *
   * @param withTargets - language only: take the next tokens too and give their negative log-likelihood.
   */
  compare(model: Model, withTargets: boolean): ComparedModel;
  /**
   * The loss over several runs' results, as if they had been one batch: how data are cut into batches plays no part.
   * Language: the mean over all tokens. Outputs: Σ over outputs of Σ ‖ŷ − y‖² / Σ ‖y‖², the sums over runs; an output
   * that is zero in the float model adds nothing.
   */
  overall(results: readonly Feeds[]): number;
}

/** A model that gives its distance from reference values. */
export interface ComparedModel {
  readonly model: Model;
  readonly referenceInputs: readonly string[];
  /** int64 [batch, tokens] input of next tokens, with `withTargets`. */
  readonly targetsInput: string | undefined;
  readonly results: readonly string[];
}
