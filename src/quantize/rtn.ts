/**
 * Round to nearest: each weight on its own, no data needed. The baseline of every other quantizer.
 */
import type { QuantizeInput, Quantizer } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { sharedAlgebra } from "../math/algebra.ts";
import { fitGrids } from "./fit-grids.ts";
import { quantizedTensor, roundToGrids } from "./round.ts";

/**
 * Rounds each weight to the nearest code of its block's grid.
 *
 *   code = clip(round(w / scale) + zeroPoint, 0, 2^b − 1)
 *
 * @returns codes uint8 [N, K], scales float32 [N, B], zero points uint8 [N, B] unless symmetric.
 *
 * Cost: O(N·K), dominated by the grid search.
 * Numerics: ties to the even integer; a block of zeros has scale 0 and codes equal to the zero point.
 * @throws numeric - a weight is NaN or infinite.
 */
async function quantize(input: QuantizeInput<never>): Promise<QuantizedTensor> {
  const { format, stats, options } = input;
  const weight = input.target ?? input.weight;
  const algebra = input.algebra ?? (await sharedAlgebra());
  const grids = await fitGrids(weight, format, {
    grid: options.grid,
    layer: stats.layer,
    algebra,
  });
  return quantizedTensor(weight, format, grids, roundToGrids(weight, format, grids));
}

export const rtn: Quantizer<never> = {
  summary: "round each weight to the nearest point of its block's grid; needs no data",
  source: "plain rounding; grid search after llama.cpp, make_qx_quants",
  needs: [],
  secondsPerWeight: 60e-9,
  quantize,
};
