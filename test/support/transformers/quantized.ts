/**
 * Transformers quantized through the library itself, at formats that take turns over the layers.
 */
import { parseFormat, type WeightFormat, withScaleType } from "../../../src/core/format.ts";
import { findLayers } from "../../../src/layers/index.ts";
import type { Model } from "../../../src/onnx/index.ts";
import {
  mainOpset,
  type QuantizedLayer,
  resolveTarget,
  rewriteModel,
  supports,
  type TargetName,
} from "../../../src/rewrite/index.ts";
import { roundToNearest } from "../../rewrite/quantized-model.ts";

export interface QuantizedTransformerOptions {
  /** Format ids, used in turn; a layer that the target cannot hold in one takes the next. Default int4-b32. */
  readonly formats?: readonly string[];
  /** Default "portable". Scales get the type that the target prefers. */
  readonly target?: TargetName;
  /** Which layers are rounded, by id; default all. */
  readonly only?: RegExp;
}

export interface QuantizedTransformer {
  readonly model: Model;
  /** Format id by layer; layers that no format fits stay in float and are missing. */
  readonly formats: ReadonlyMap<string, string>;
}

/** Rounds every layer to nearest; weights are quantized when the model is saved or opened. */
export function quantizedTransformer(
  float: Model,
  options: QuantizedTransformerOptions = {},
): QuantizedTransformer {
  const { formats = ["int4-b32"], target: name = "portable", only = /^/ } = options;
  const target = resolveTarget(name);
  const wanted = formats.map((id) => withScaleType(parseFormat(id), target.scaleType));
  const opset = mainOpset(float);
  const chosen: QuantizedLayer[] = [];
  const layers = findLayers(float.graph).layers.filter(({ id }) => only.test(id));
  layers.forEach((layer, index) => {
    const turns = wanted.map((_, i) => wanted[(index + i) % wanted.length]);
    const format = turns.find((one) => supports(target, layer, one, opset) === true);
    if (format) chosen.push({ layer, format, weight: () => rounded(layer.readWeight(), format) });
  });
  return {
    model: rewriteModel(float, chosen, { target }),
    formats: new Map(chosen.map(({ layer, format }) => [layer.id, format.id])),
  };
}

async function rounded(
  weight: ReturnType<QuantizedLayer["layer"]["readWeight"]>,
  format: WeightFormat,
): ReturnType<QuantizedLayer["weight"]> {
  return roundToNearest(await weight, format);
}
