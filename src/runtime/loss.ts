/**
 * A loss against the float model, compiled into the graph: the float model gives reference values, any model with the
 * same outputs is compared with them, and only small results leave the session.
 */
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";

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
  /** Σ loss and its count (tokens, or samples) of one run's results. */
  total(results: Feeds): { readonly sum: number; readonly count: number };
}

export interface ComparedModel {
  readonly model: Model;
  readonly referenceInputs: readonly string[];
  /** int64 [batch, tokens] input of next tokens, with `withTargets`. */
  readonly targetsInput: string | undefined;
  readonly results: readonly string[];
}
