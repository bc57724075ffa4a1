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
  readonly opType: "MatMul" | "Gemm" | "Gather" | "Conv";
  /** Graph value multiplied with the weight (MatMul, Gemm), convolved (Conv), or of row indices (Gather). */
  readonly activation: string;
  readonly output: string;
  /** Element type the node computes in. */
  readonly dtype: FloatType;
  /** How a Conv unfolds its activation into rows; undefined for all others. */
  readonly window?: ConvWindow | undefined;
}

/**
 * The window that a convolution slides over its input [batch, channels, ...axes]: at each position it reads, for every
 * group g, one row of X_g [T, K], K = channels / groups · Π kernel, in the order channel, first axis, last axis.
 */
export interface ConvWindow {
  readonly groups: number;
  /** Sizes, one per spatial axis; so are the others. */
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /**
   * Zeros before and after each axis; or as many as make `ceil(size / stride)` positions, an odd one of them after
   * ("same-upper") or before ("same-lower").
   */
  readonly padding:
    | { readonly before: readonly number[]; readonly after: readonly number[] }
    | "same-upper"
    | "same-lower";
}

/** A weight of the graph, seen as W [N, K]. */
export interface Layer {
  readonly id: LayerId;
  /** "MatMul", "Gemm", "Gather", "Conv", or both of a tied weight joined: "Gather+MatMul". */
  readonly opType: string;
  /** Name of the stored tensor: the initializer, or the output of the Constant node. */
  readonly weight: string;
  readonly dtype: FloatType;
  /** Nodes between the stored tensor and its uses (Transpose, Cast, Identity); nobody else reads them. */
  readonly path: readonly string[];
  /** Output features (rows of a table for Gather, channels for Conv). */
  readonly n: number;
  /** Input features (width of a table row for Gather, elements that one output channel reads for Conv). */
  readonly k: number;
  /**
   * Row groups of W: rows g·N/groups up to (g+1)·N/groups are multiplied with X_g of their own. 1 for all but grouped
   * and depthwise convolutions.
   */
  readonly groups: number;
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
