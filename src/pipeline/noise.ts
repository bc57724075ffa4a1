/** Quantization noise of single layers, for the report. */
import type { Algebra } from "../core/algebra.ts";
import type { Layer } from "../core/layer.ts";
import type { LayerStats } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import { outputError } from "../score/index.ts";

/**
 * `10·log₁₀(E‖W x‖² / E‖ΔW x‖²)`, dB, from the layer's Hessian and row frequencies; without either, of the weights
 * themselves: `10·log₁₀(‖W‖² / ‖ΔW‖²)`. Infinite for an exact result, also where the signal is zero.
 */
export async function layerSqnrDb(
  layer: Layer,
  quantized: Matrix,
  stats: LayerStats | undefined,
  algebra?: Algebra,
): Promise<number> {
  const weight = await layer.readWeight();
  const zero = { ...weight, data: new Float32Array(weight.data.length) };
  const measured = stats ?? { hessian: undefined, rowFrequency: undefined };
  const noise = await outputError(weight, quantized, measured, algebra);
  if (noise === 0) return Number.POSITIVE_INFINITY;
  return 10 * Math.log10((await outputError(weight, zero, measured, algebra)) / noise);
}
