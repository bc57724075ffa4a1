/**
 * The grids of a whole weight matrix, one per row and block.
 * Not here: codes. Invariant: grids depend on the block's own weights (and importance) only, never on neighbours.
 */
import { BitloomError } from "../core/errors.ts";
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { QuantizeOptions } from "../core/method.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Grid, type Grids, minMaxGrid } from "./grid.ts";
import { searchGrid } from "./grid-search.ts";

export interface FitGridsOptions {
  /** `min-max` spans each block; `mse` searches the smallest squared error. */
  readonly grid: QuantizeOptions["grid"];
  /** float64 [K], ≥ 0: how much the error of a column counts in the `mse` search. */
  readonly importance?: Float64Array | undefined;
  /** Only for the error message. */
  readonly layer: string;
}

/**
 * Fits one grid to each block of a matrix.
 *
 * @param weight - float32 [N, K]; not modified.
 * @param format - integer format.
 * @returns scales float32 [N, B] and zero points uint8 [N, B], B = ceil(K / blockSize).
 *
 * Cost: `min-max` two passes over the weights, `mse` about 30.
 * @throws numeric - a weight is NaN or infinite.
 */
export function fitGrids(weight: Matrix, format: WeightFormat, options: FitGridsOptions): Grids {
  const { rows, cols, data } = weight;
  checkFinite(weight, options.layer);
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * blocks);
  const grid: Grid = { scale: 0, zeroPoint: 0 };
  const values = new Float64Array(blockSize);
  for (let b = 0; b < blocks; b++) {
    const start = b * blockSize;
    const count = Math.min(blockSize, cols - start);
    const importance = options.importance?.subarray(start, start + count);
    for (let n = 0; n < rows; n++) {
      const from = n * cols + start;
      if (options.grid === "min-max") {
        minMaxGrid(data, from, count, format, grid);
      } else {
        for (let i = 0; i < count; i++) values[i] = data[from + i];
        searchGrid(values, count, format, importance, grid);
      }
      scales[n * blocks + b] = grid.scale;
      zeroPoints[n * blocks + b] = grid.zeroPoint;
    }
  }
  return { scales, zeroPoints };
}

/** Throws `numeric` at the first weight that is NaN or infinite. */
export function checkFinite(weight: Matrix, layer: string): void {
  const index = weight.data.findIndex((w) => !Number.isFinite(w));
  if (index < 0) return;
  throw new BitloomError(
    "numeric",
    `Cannot quantize "${layer}": expected finite weights, got ${weight.data[index]} at row ${Math.floor(index / weight.cols)}, column ${index % weight.cols}. Repair the model or keep this layer in float.`,
    { layer, step: "fit-grids" },
  );
}
