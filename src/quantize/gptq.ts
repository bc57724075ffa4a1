/**
 * GPTQ: rounding with error feedback through the Hessian of the layer's inputs.
 * Not here: the factor and the rounding loop (`math/`), the grids' search (`native/dense/grid.ts`).
 * Invariant: neither weight nor Hessian is modified.
 */
import { BitloomError } from "../core/errors.ts";
import { effectiveBlockSize } from "../core/format.ts";
import type { QuantizeInput, Quantizer } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { sharedAlgebra } from "../math/algebra.ts";
import { checkFinite, fitGrids, gridFit } from "./fit-grids.ts";
import { factorHessian } from "./hessian-factor.ts";
import { quantizedTensor, roundToGrids } from "./round.ts";

/**
 * Quantizes a weight matrix column by column, moving each column's rounding error onto the columns not yet rounded.
 *
 *   t_i = w_i + (Σ_{j<i} (w_j − ŵ_j) R_ji) / R_ii ;  ŵ_i = round(t_i),   where R Rᵀ = H + λI, R upper triangular
 *
 * @param input.weight - float32 [N, K]; not modified. `input.target` takes its place where a correction made one.
 * @param input.stats.hessian - float64 [K, K], symmetric, `H = (2/T) XᵀX`; undefined (pure embedding) rounds to
 *   nearest instead.
 * @param input.feed - P, float64 [K, K], strictly upper, in rounding order: w_i + Σ_{j<i} t_j P_ji takes the place of
 *   w_i.
 * @returns codes uint8 [N, K], scales float32 [N, B], zero points uint8 [N, B] unless symmetric.
 *
 * Cost: K³/3 operations once per Hessian (remembered) + N·K² + the grid search; 4·K² bytes for the factor, 17·K for
 *   each of at most 512 rows at a time.
 * Source: Frantar et al. 2023 (GPTQ), section 3, algorithm 1, in the form of Babai's nearest plane algorithm: with
 *   U = R⁻¹ their e_i U_ij accumulate to the same targets, so neither the inverse nor U is needed. Differs: the `mse`
 *   grid search counts each column's error by (H_kk + λ) / mean; dead columns keep their weights; block grids as
 *   follows.
 *   In column order the grid of a block is fitted to the corrected weights when the block starts; in activation
 *   order all grids are fitted to the original weights, because a block's columns are then spread over the run.
 *   Measured on the 35 matrices of tiny-lm with the calibration rows themselves, tr(ΔHΔᵀ) relative to `mse`
 *   round-to-nearest, geometric mean, at int2-b32 / int3-b128 / int4-b32: original weights 0.700 / 0.621 / 0.652,
 *   counted by diag(H) 0.663 / 0.586 / 0.642, and fitted at block start 0.623 / 0.585 / 0.614; activation order with
 *   diag(H) 0.630 / 0.550 / 0.604.
 * Numerics: float64; ties to even; columns with H_kk = 0 are rounded without propagation; a failed factorization
 *   raises λ tenfold, at most five times, each time with a `damping-raised` notice; equal diagonals keep column order.
 * @throws numeric - a weight or the Hessian is not finite, no damping makes the Hessian positive definite, or the fed
 *   forward errors overflow.
 */
async function quantize(input: QuantizeInput<"hessian">): Promise<QuantizedTensor> {
  const { format, stats, options, feed } = input;
  const weight = input.target ?? input.weight;
  const { hessian, layer } = stats;
  const algebra = input.algebra ?? (await sharedAlgebra());
  const { grid } = options;
  if (hessian === undefined) {
    const grids = await fitGrids(weight, format, { grid, layer, algebra });
    return quantizedTensor(weight, format, grids, roundToGrids(weight, format, grids));
  }
  checkFinite(weight, layer);
  const factor = await factorHessian(algebra, hessian, options, layer);
  try {
    const importance = columnImportance(hessian, weight.cols, factor.damping);
    // A block that is the whole row starts before anything is corrected.
    const isStatic = factor.order || effectiveBlockSize(format, weight.cols) >= weight.cols;
    const grids = isStatic
      ? await fitGrids(weight, format, { grid, importance, layer, algebra })
      : gridFit(format, { grid, importance });
    const rounded = await algebra.roundWithFeedback(factor, { weight, format, grids, feed });
    if (rounded.overflowRow !== undefined) throw overflow(layer, rounded.overflowRow);
    return quantizedTensor(weight, format, rounded, rounded.codes);
  } finally {
    factor.release();
  }
}

/** A weight that overflowed on the way has a code all the same: it must not pass for a result. */
function overflow(layer: string, row: number): BitloomError {
  return new BitloomError(
    "numeric",
    `GPTQ overflowed in "${layer}": expected finite corrected weights, got infinite ones in row ${row}. Use more calibration data, --quantizer rtn, or keep this layer in float.`,
    { layer, step: "gptq" },
  );
}

/** (H_kk + λ) / mean over k, float64 [K]; 1 for a constant diagonal (up to its mean's rounding), undefined for zeros. */
function columnImportance(
  hessian: Float64Array,
  size: number,
  damping: number,
): Float64Array | undefined {
  let trace = 0;
  for (let k = 0; k < size; k++) trace += hessian[k * size + k];
  const mean = trace / size;
  if (mean === 0) return undefined;
  const lambda = damping * mean;
  return Float64Array.from(
    { length: size },
    (_, k) => (hessian[k * size + k] + lambda) / (mean + lambda),
  );
}

export const gptq: Quantizer<"hessian"> = {
  summary: "round column by column, feeding each rounding error forward through the input Hessian",
  source: "Frantar et al. 2023, GPTQ, section 3, algorithm 1",
  needs: ["hessian"],
  secondsPerWeight: 60e-9,
  takesFeed: true,
  quantize,
};
