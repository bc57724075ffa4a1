/**
 * The grids of a whole weight matrix, one per row and block: what is searched, and with which settings.
 * Not here: codes; the search (`native/dense/grid.ts`).
 * Invariant: grids depend on the block's own weights (and importance) only, never on neighbours.
 */
import type { Algebra, GridFit } from "../core/algebra.ts";
import { BitloomError } from "../core/errors.ts";
import { firstNonFinite } from "../core/finite.ts";
import type { WeightFormat } from "../core/format.ts";
import type { QuantizeOptions } from "../core/method.ts";
import type { Matrix } from "../core/tensor.ts";
import type { Grids } from "./grid.ts";
import { trialScales } from "./trial-scales.ts";

export interface FitGridsOptions {
  /** `min-max` spans each block; `mse` searches the smallest squared error. */
  readonly grid: QuantizeOptions["grid"];
  /** float64 [K], ≥ 0: how much the error of a column counts in the `mse` search. */
  readonly importance?: Float64Array | undefined;
  /** Only for the error message. */
  readonly layer: string;
  readonly algebra: Algebra;
}

/**
 * Fits one grid to each block of a matrix. `min-max` spans the block; `mse` tries narrowed ranges and refits the scale
 * to the codes:
 *
 *   trial:   c_i = clip(round(w_i / s), −z, 2^b − 1 − z)  for steps s from covering the block down to a fraction of that
 *   refit:   s* = Σ h w c / Σ h c²,  error Σ h w² − (Σ h w c)² / Σ h c²
 *
 * Symmetric blocks try both signs of s (z = 2^(b−1) leaves one more code on one side); asymmetric blocks try the
 * zero point of the min-max grid and its two neighbours. The best trial is refitted three times more, and taken if it
 * is better than the min-max grid after the rounding of its scale.
 *
 * @param weight - float32 [N, K]; not modified.
 * @param format - integer format.
 * @returns scales float32 [N, B] and zero points uint8 [N, B], B = ceil(K / blockSize).
 *
 * Cost: `min-max` two passes over the weights, `mse` 45 to 65 (0.4 ns each per weight).
 * Source: the one-pass score (Σwc)²/Σc² is how llama.cpp's make_qx_quants ranks scales. Differs: zero-point
 *   neighbours, both signs, several refits, comparison with the rounded scale itself.
 * Numerics: float64, ties to even; equal candidates keep the earlier one, min-max first.
 * @throws numeric - a weight is NaN or infinite.
 */
export async function fitGrids(
  weight: Matrix,
  format: WeightFormat,
  options: FitGridsOptions,
): Promise<Grids> {
  checkFinite(weight, options.layer);
  return options.algebra.fitGrids(weight, format, gridFit(format, options));
}

/** The settings of the search for a format. */
export function gridFit(
  format: WeightFormat,
  { grid, importance }: Pick<FitGridsOptions, "grid" | "importance">,
): GridFit {
  const minMax = { trials: 0, ratio: 1 };
  return { ...(grid === "mse" ? trialScales[format.bits] : minMax), importance };
}

/** Throws `numeric` at the first weight that is NaN or infinite. */
export function checkFinite(weight: Matrix, layer: string): void {
  const index = firstNonFinite(weight.data);
  if (index < 0) return;
  throw new BitloomError(
    "numeric",
    `Cannot quantize "${layer}": expected finite weights, got ${weight.data[index]} at row ${Math.floor(index / weight.cols)}, column ${index % weight.cols}. Repair the model or keep this layer in float.`,
    { layer, step: "fit-grids" },
  );
}
