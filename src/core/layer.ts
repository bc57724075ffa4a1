/**
 * A layer: one constant weight matrix and the graph nodes that multiply by it or gather from it.
 * Only `layers/` knows how the file stores it; everybody else sees W [N, K].
 */
import type { FeedTensor } from "./feeds.ts";
import type { DType, Matrix } from "./tensor.ts";

/** Element types a weight may be stored in. */
export type FloatType = Extract<DType, "float32" | "float16" | "bfloat16">;

/** Name of the first node that uses the weight; unique within a model. */
export type LayerId = string;

/** One node that reads the weight. */
export interface LayerUse {
  readonly node: string;
  readonly opType: "MatMul" | "Gemm" | "Gather";
  /** Graph value multiplied with the weight (MatMul, Gemm) or of row indices (Gather). */
  readonly activation: string;
  readonly output: string;
  /** Element type the node computes in. */
  readonly dtype: FloatType;
}

export interface Layer {
  readonly id: LayerId;
  /** "MatMul", "Gemm", "Gather", or both of a tied weight joined: "Gather+MatMul". */
  readonly opType: string;
  /** Name of the stored tensor: the initializer, or the output of the Constant node. */
  readonly weight: string;
  readonly dtype: FloatType;
  /** Nodes between the stored tensor and its uses (Transpose, Cast, Identity); nobody else reads them. */
  readonly path: readonly string[];
  /** Output features (rows of a table for Gather). */
  readonly n: number;
  /** Input features (width of a table row for Gather). */
  readonly k: number;
  readonly uses: readonly LayerUse[];
  /** Reads the weight as W [N, K], float32, whatever the file stores. A fresh copy on each call. */
  readWeight(): Promise<Matrix>;
  /** The inverse of `readWeight`: W [N, K] in the stored orientation and element type, ready to feed. */
  toStored(weight: Matrix): FeedTensor;
}

/** A node that could have been a layer, and why it is not. */
export interface SkippedNode {
  readonly name: string;
  readonly opType: string;
  readonly reason: string;
}
