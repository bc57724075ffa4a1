/**
 * Everything calibration can measure. A new statistic is one entry here and one file in `calibrate/`.
 * `T` counts calibration rows (tokens); statistics belong to graph values, layers share them.
 */
import type { LayerId } from "./layer.ts";

export interface StatValues {
  /** max over rows of |x_k|, float32 [K]. */
  absMax: Float32Array;
  /** mean over rows of x_k², float64 [K]. */
  meanSquare: Float64Array;
  /** H = (2/T) XᵀX, float64 [K, K], symmetric, undamped; over all matrix uses of the weight. */
  hessian: Float64Array;
  /** How often each table row is gathered, per gathered row, float64 [N]; sums to 1. */
  rowFrequency: Float64Array;
  /** mean over rows of ‖x Wᵀ‖², the energy of the layer's own output: the denominator of its SQNR. */
  outputPower: number;
  /** cos(vec(h_in), vec(h_out)) over all rows of the transformer block the layer sits in; 0 when a norm is 0. */
  blockCosine: number;
}
export type StatName = keyof StatValues;

/**
 * Statistics of one layer. A statistic that does not apply is undefined: `hessian`, `absMax`, `meanSquare` and
 * `outputPower` need a MatMul or Gemm use, `rowFrequency` a Gather use, `blockCosine` a block.
 */
export type LayerStats<S extends StatName = StatName> = {
  readonly layer: LayerId;
  /** T: rows seen. */
  readonly tokens: number;
} & { readonly [Name in S]: StatValues[Name] | undefined };

/** One transformer block: input and output on the residual stream, and the layers inside. */
export interface Block {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly layers: readonly LayerId[];
}
