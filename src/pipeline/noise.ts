/** Quantization noise of single layers, for the report. */
import type { Layer } from "../core/layer.ts";
import type { LayerStats } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import { outputError } from "../score/index.ts";

/**
 * `10·log₁₀(E‖W x‖² / E‖ΔW x‖²)`, dB, from the layer's Hessian and row frequencies; without either, of the weights
 * themselves: `10·log₁₀(‖W‖² / ‖ΔW‖²)`. Infinite for an exact result.
 */
export async function layerSqnrDb(
  layer: Layer,
  quantized: Matrix,
  stats: LayerStats | undefined,
): Promise<number> {
  const weight = await layer.readWeight();
  const zero = { ...weight, data: new Float32Array(weight.data.length) };
  // A uniform table of rows measures the weights themselves.
  const measured =
    stats && (stats.hessian || stats.rowFrequency)
      ? stats
      : { hessian: undefined, rowFrequency: new Float64Array(layer.n).fill(1 / layer.n) };
  const noise = outputError(weight, quantized, measured);
  return 10 * Math.log10(outputError(weight, zero, measured) / noise);
}
