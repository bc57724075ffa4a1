/**
 * Models for the tests of `src/rewrite`: every format in every use, rounded to nearest and rewritten for a target,
 * with what each output must be.
 */
import type { Feeds } from "../../src/core/feeds.ts";
import type { WeightFormat } from "../../src/core/format.ts";
import type { Layer } from "../../src/core/layer.ts";
import { defaultQuantizeOptions } from "../../src/core/method.ts";
import { dequantize, type QuantizedTensor } from "../../src/core/quantized.ts";
import { createRandom } from "../../src/core/random.ts";
import type { LayerStats } from "../../src/core/stats.ts";
import { type Matrix, roundToFloat16 } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import type { Model } from "../../src/onnx/index.ts";
import { quantizeWeight } from "../../src/quantize/index.ts";
import {
  mainOpset,
  type QuantizedLayer,
  rewriteModel,
  supports,
  type Target,
  weightBytes,
} from "../../src/rewrite/index.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { graph } from "../support/graph-builder.ts";
import { declareInputs, type FeedType, type Output, type Shape, useFeeds, uses } from "./uses.ts";

/** Plain min-max rounding: fast, and every code occurs. */
export function roundToNearest(weight: Matrix, format: WeightFormat): Promise<QuantizedTensor> {
  const stats: LayerStats<never> = { layer: "test", tokens: 0 };
  const options = { ...defaultQuantizeOptions, grid: "min-max" } as const;
  return quantizeWeight({ weight, format, stats: stats as LayerStats, options }, "rtn");
}

/** A layer in a format, and the weight that this means. */
export async function quantizedLayer(
  layer: Layer,
  format: WeightFormat,
): Promise<QuantizedLayer & { readonly meaning: Matrix }> {
  const float = await layer.readWeight();
  if (format.kind === "float") {
    const data = format.bits === 16 ? float.data.map(roundToFloat16) : float.data;
    const weight = () => Promise.reject(new Error("a float has no codes"));
    return { layer, format, weight, meaning: { ...float, data } };
  }
  const tensor = await roundToNearest(float, format);
  return { layer, format, weight: async () => tensor, meaning: dequantize(tensor) };
}

export interface UsesModelOptions {
  readonly target: Target;
  readonly formats: readonly WeightFormat[];
  readonly shape: Shape;
  readonly opset: number;
  readonly dtype?: FeedType;
  readonly functionBody?: "folded" | "packed";
}

export interface UsesModel {
  readonly float: Model;
  readonly quantized: Model;
  readonly feeds: Feeds;
  /** Results that `quantized` must give, by output. */
  readonly expected: ReadonlyMap<string, Float64Array>;
  /** Σ of what `weightBytes` predicts. */
  readonly predictedBytes: number;
  /** Ids of the formats that at least one use could be stored in. */
  readonly accepted: ReadonlySet<string>;
}

/** One model that holds every format in every use; what the target refuses stays in float and is not expected. */
export async function usesModel(options: UsesModelOptions): Promise<UsesModel> {
  const { target, formats, shape, opset, dtype = "float32", functionBody } = options;
  const builder = declareInputs(graph({ opset }), shape, dtype);
  const formatOf = new Map<string, WeightFormat>();
  const outputsOf = new Map<string, readonly Output[]>();
  const random = createRandom(7);
  formats.forEach((format, seed) => {
    for (const use of uses) {
      if (use.opset !== undefined && opset < use.opset) continue;
      const name = `${format.id}/${use.name}`;
      const weight = normalMatrix(shape.n, shape.k, seed);
      if (shape.n > 1) weight.data.fill(0, 0, 32); // blocks of scale 0
      const outputs = use.add(builder, name, weight, { dtype, random });
      for (const { value } of outputs) builder.output(value, dtype);
      formatOf.set(name, format);
      outputsOf.set(name, outputs);
    }
  });
  const float = builder.model();
  const feeds = useFeeds(shape, dtype, 3);
  const expected = new Map<string, Float64Array>();
  const chosen: QuantizedLayer[] = [];
  let predictedBytes = 0;
  for (const layer of findLayers(float.graph).layers) {
    const format = formatOf.get(layer.id);
    if (!format) throw new Error(`"${layer.id}" is no layer of the test model`);
    if (supports(target, layer, format, mainOpset(float)) !== true) continue;
    const quantized = await quantizedLayer(layer, format);
    chosen.push(quantized);
    predictedBytes += weightBytes(target, layer, format, mainOpset(float));
    for (const output of outputsOf.get(layer.id) ?? []) {
      expected.set(output.value, output.expected(quantized.meaning, feeds));
    }
  }
  return {
    float,
    quantized: rewriteModel(float, chosen, { target, functionBody }),
    feeds,
    expected,
    predictedBytes,
    accepted: new Set(chosen.map(({ format }) => format.id)),
  };
}

/** Bytes of the initializers that `quantized` has and `float` has not. */
export function addedBytes(float: Model, quantized: Model): number {
  return [...quantized.graph.initializers]
    .filter(([name]) => !float.graph.initializers.has(name))
    .reduce((sum, [, { byteLength }]) => sum + byteLength, 0);
}
