/**
 * Codes on given grids: plain rounding of a matrix, and putting codes and grids together.
 * Not here: finding grids (`fit-grids.ts`). Invariant: the weight is not modified.
 */
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import type { Matrix } from "../core/tensor.ts";
import { encode, type Grids } from "./grid.ts";

/**
 * Rounds every weight to the nearest point of its block's grid.
 *
 * @param weight - float32 [N, K].
 * @returns codes uint8 [N, K], 0 .. 2^bits − 1.
 *
 * Cost: O(N·K).
 */
export function roundToGrids(weight: Matrix, format: WeightFormat, grids: Grids): Uint8Array {
  const { rows, cols, data } = weight;
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  const highest = 2 ** format.bits - 1;
  const codes = new Uint8Array(rows * cols);
  for (let n = 0; n < rows; n++) {
    for (let b = 0; b < blocks; b++) {
      const scale = grids.scales[n * blocks + b];
      const zeroPoint = grids.zeroPoints[n * blocks + b];
      const end = Math.min((b + 1) * blockSize, cols);
      for (let k = b * blockSize; k < end; k++) {
        codes[n * cols + k] = encode(data[n * cols + k], scale, zeroPoint, highest);
      }
    }
  }
  return codes;
}

/** Puts codes and grids together; symmetric formats keep no zero points. */
export function quantizedTensor(
  weight: Matrix,
  format: WeightFormat,
  grids: Grids,
  codes: Uint8Array,
): QuantizedTensor {
  const { rows, cols } = weight;
  const zeroPoints = format.symmetric ? undefined : grids.zeroPoints;
  return { format, rows, cols, codes, scales: grids.scales, zeroPoints };
}
