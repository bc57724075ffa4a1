/**
 * What generation needs of a session. Those of `createSession` are, and so is whatever has the same shape.
 */
import type { DeclaredInput } from "../../core/language-model.ts";
import type { TensorLike } from "../session/tensor.ts";

export type InputMetadata = DeclaredInput;

/** A session as far as generation needs it: ours, or one of ONNX Runtime. */
export interface GenerationSession {
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InputMetadata[];
  /** True: key and value caches stay in the session; they are neither fed nor returned. */
  readonly carriesCaches?: boolean | undefined;
  /** Runs the model once. */
  run(
    feeds: Readonly<Record<string, TensorLike>>,
    fetches?: readonly string[],
  ): Promise<Readonly<Record<string, TensorLike>>>;
  /** Empties internal caches. */
  resetCaches?(): void;
}
