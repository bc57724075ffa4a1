/**
 * A form is one way to store a quantized matrix in a graph and to compute with it. Targets pick forms; the bytes a
 * plan counts and the bytes a file holds both come from `stored`, so they cannot differ.
 */
import type { WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import type { DType, Matrix } from "../core/tensor.ts";
import type { ModelEditor } from "../onnx/index.ts";

/** An initializer of a form. */
export interface StoredTensor {
  /** Ending of the initializer's name: "codes", "scales", "zero_points" … */
  readonly role: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The little-endian bytes of this tensor. */
  fill(weight: WeightSource): Promise<Uint8Array>;
}

/** A layer's weight, computed when the model is saved or opened. */
export interface WeightSource {
  /** Integer formats only. */
  quantized(): Promise<QuantizedTensor>;
  /** Float formats only. */
  float(): Promise<Matrix>;
}

/** What a form needs to add nodes for one layer. */
export interface FormContext {
  readonly editor: ModelEditor;
  readonly layer: Layer;
  readonly format: WeightFormat;
  /** Main graph's ai.onnx opset. */
  readonly opset: number;
  /** See `RewriteOptions`. */
  readonly functionBody: "folded" | "packed";
  readonly accuracyLevel: number | undefined;
  /** Name of the initializer that `Form.stored` stored under a role. */
  tensor(role: string): string;
  /** Adds one node with a unique name under the layer's and returns its output (named `output` when given). */
  node(
    opType: string,
    inputs: readonly string[],
    attributes?: Parameters<ModelEditor["addNodes"]>[0][number]["attributes"],
    options?: { readonly domain?: string; readonly output?: string | undefined },
  ): string;
  /** Adds an int64 constant and returns its name. */
  ints(values: readonly number[]): string;
}

/** One way to store a matrix in a graph and to compute with it. */
export interface Form {
  /** Nodes in the graph, for reports: "MatMulNBits", "MatMulPacked" … */
  readonly name: string;
  /** The initializers that hold one matrix. */
  stored(layer: Layer, format: WeightFormat): readonly StoredTensor[];
  /** Y = X Wᵀ in float32. */
  multiply(context: FormContext, activation: string, output?: string): string;
  /** Rows of W by index, in float32. */
  gather(context: FormContext, indices: string, output?: string): string;
  /**
   * W itself, [N, K] in float32, for nodes that have no low-bit form of their own (Conv). Undefined for forms that
   * targets choose for other uses only.
   *
   * @param activation - what W will be used with, in float32.
   */
  unpack?(context: FormContext, activation: () => string): string;
}
