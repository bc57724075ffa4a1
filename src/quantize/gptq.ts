/**
 * GPTQ: rounding with error feedback through the Hessian of the layer's inputs.
 * Not here: the factor's mathematics (`math/inverse-factor.ts`), the grids' (`grid-search.ts`).
 * Invariant: neither weight nor Hessian is modified.
 */
import { BitloomError, invariant } from "../core/errors.ts";
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { QuantizeInput, QuantizeOptions, Quantizer } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import type { Matrix } from "../core/tensor.ts";
import { checkFinite, fitGrids } from "./fit-grids.ts";
import { encode, type Grid, type Grids, minMaxGrid } from "./grid.ts";
import { searchGrid } from "./grid-search.ts";
import { factorHessian } from "./hessian-factor.ts";
import { quantizedTensor, roundToGrids } from "./round.ts";

/** Rows worked on together: 64 rows of 4096 float64 columns take 2 MB, so U is read once per 64 rows. */
const rowsPerChunk = 64;
/** Columns after which collected errors are spread over the rest of the row (the paper's B). */
const lazyColumns = 128;
/** Columns per tile of that spreading: four rows of U in the tile take 8 kB of first-level cache. */
const tileColumns = 256;

/**
 * Quantizes a weight matrix column by column, moving each column's rounding error onto the columns not yet rounded.
 *
 *   e = (w_k − ŵ_k) / U_kk ;  W_:,j ← W_:,j − e · U_kj  for j > k,   where Uᵀ U = (H + λI)⁻¹
 *
 * @param input.weight - float32 [N, K]; not modified.
 * @param input.stats.hessian - float64 [K, K], symmetric, `H = (2/T) XᵀX`; undefined (pure embedding) rounds to
 *   nearest instead.
 * @returns codes uint8 [N, K], scales float32 [N, B], zero points uint8 [N, B] unless symmetric.
 *
 * Cost: K³/3 multiply-adds once per Hessian (memoized) + N·K²/2 + the grid search; K² + 64·K float64 extra memory.
 * Source: Frantar et al. 2023 (GPTQ), section 3, algorithm 1. Differs: the `mse` grid search counts each column's
 *   error by (H_kk + λ) / mean; dead columns keep their weights; block grids as follows.
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
function quantize(input: QuantizeInput<"hessian">): QuantizedTensor {
  const { weight, format, stats, options } = input;
  const { hessian, layer } = stats;
  if (hessian === undefined) {
    const grids = fitGrids(weight, format, { grid: options.grid, layer });
    return quantizedTensor(weight, format, grids, roundToGrids(weight, format, grids));
  }
  checkFinite(weight, layer);
  const { cols } = weight;
  const { factor, order, damping } = factorHessian(hessian, cols, options, layer);
  const importance = columnImportance(hessian, cols, damping);
  const grids: Grids = order
    ? fitGrids(weight, format, { grid: options.grid, importance, layer })
    : emptyGrids(weight, format);
  const run: Run = {
    layer,
    weight,
    format,
    order,
    factor,
    grids,
    fit: order ? undefined : { grid: options.grid, importance },
    codes: new Uint8Array(weight.rows * cols),
  };
  const work = new Float64Array(rowsPerChunk * cols);
  for (let start = 0; start < weight.rows; start += rowsPerChunk) {
    quantizeRows(run, start, Math.min(rowsPerChunk, weight.rows - start), work);
  }
  return quantizedTensor(weight, format, grids, run.codes);
}

/** What stays the same while the rows of one matrix are quantized. */
interface Run {
  readonly layer: string;
  readonly weight: Matrix;
  readonly format: WeightFormat;
  readonly order: Int32Array | undefined;
  readonly factor: Float64Array;
  /** Filled block by block when `fit` is set, complete from the start otherwise. */
  readonly grids: Grids;
  readonly fit:
    | { readonly grid: QuantizeOptions["grid"]; readonly importance: Float64Array | undefined }
    | undefined;
  readonly codes: Uint8Array;
}

/** Quantizes `count` rows from `start`; rows never influence each other. */
function quantizeRows(run: Run, start: number, count: number, work: Float64Array): void {
  const { weight, format, order } = run;
  const { cols, data } = weight;
  for (let r = 0; r < count; r++) {
    const source = (start + r) * cols;
    for (let k = 0; k < cols; k++) work[r * cols + k] = data[source + (order ? order[k] : k)];
  }
  // A block must not straddle two column groups: its grid needs all earlier errors spread already.
  const group = Math.max(lazyColumns, format.blockSize);
  invariant(
    group % Math.max(1, format.blockSize) === 0,
    `GPTQ got blocks of ${format.blockSize}, which neither divide ${lazyColumns} nor are whole multiples of it`,
  );
  const errors = new Float64Array(count * group);
  const values = new Float64Array(effectiveBlockSize(format, cols));
  for (let first = 0; first < cols; first += group) {
    const end = Math.min(first + group, cols);
    for (let r = 0; r < count; r++) {
      quantizeGroup(run, start + r, work, r * cols, first, end, errors, r * group, values);
    }
    spreadErrors(run.factor, cols, work, count, first, end, errors, group);
  }
  checkCorrected(run.layer, work.subarray(0, count * cols), start, cols);
}

/** A weight that overflowed on the way has a code all the same: it must not pass for a result. */
function checkCorrected(layer: string, work: Float64Array, start: number, cols: number): void {
  const index = work.findIndex((value) => !Number.isFinite(value));
  if (index < 0) return;
  throw new BitloomError(
    "numeric",
    `GPTQ overflowed in "${layer}": expected finite corrected weights, got ${work[index]} in row ${start + Math.floor(index / cols)}. Use more calibration data, --quantizer rtn, or keep this layer in float.`,
    { layer, step: "gptq" },
  );
}

/** Quantizes columns first .. end − 1 of one row, spreading errors within them and collecting them in `errors`. */
function quantizeGroup(
  run: Run,
  row: number,
  work: Float64Array,
  base: number,
  first: number,
  end: number,
  errors: Float64Array,
  errorBase: number,
  values: Float64Array,
): void {
  const { format, order, factor, grids, fit, codes } = run;
  const { cols } = run.weight;
  const blockSize = effectiveBlockSize(format, cols);
  const gridBase = row * blocksPerRow(format, cols);
  const highest = 2 ** format.bits - 1;
  for (let k = first; k < end; k++) {
    if (fit && k % blockSize === 0) {
      const count = Math.min(blockSize, cols - k);
      for (let i = 0; i < count; i++) values[i] = work[base + k + i];
      const grid: Grid = { scale: 0, zeroPoint: 0 };
      if (fit.grid === "min-max") minMaxGrid(values, 0, count, format, grid);
      else searchGrid(values, count, format, fit.importance?.subarray(k, k + count), grid);
      grids.scales[gridBase + k / blockSize] = grid.scale;
      grids.zeroPoints[gridBase + k / blockSize] = grid.zeroPoint;
    }
    const column = order ? order[k] : k;
    const block = gridBase + Math.floor(column / blockSize);
    const scale = grids.scales[block];
    const zeroPoint = grids.zeroPoints[block];
    const w = work[base + k];
    const code = encode(w, scale, zeroPoint, highest);
    codes[row * cols + column] = code;
    const factorRow = k * cols;
    const error = (w - scale * (code - zeroPoint)) / factor[factorRow + k];
    errors[errorBase + k - first] = error;
    for (let j = k + 1; j < end; j++) work[base + j] -= error * factor[factorRow + j];
  }
}

/** work[:, end..) −= errors · U[first..end, end..), four rows of U per pass over a tile. */
function spreadErrors(
  factor: Float64Array,
  cols: number,
  work: Float64Array,
  count: number,
  first: number,
  end: number,
  errors: Float64Array,
  group: number,
): void {
  // Only the last group can be ragged, and after it no columns are left: a group is a multiple of four here.
  for (let tile = end; tile < cols; tile += tileColumns) {
    const tileEnd = Math.min(tile + tileColumns, cols);
    for (let k = first; k < end; k += 4) {
      const u0 = k * cols;
      const u1 = u0 + cols;
      const u2 = u1 + cols;
      const u3 = u2 + cols;
      for (let r = 0; r < count; r++) {
        const e = r * group + k - first;
        const e0 = errors[e];
        const e1 = errors[e + 1];
        const e2 = errors[e + 2];
        const e3 = errors[e + 3];
        const base = r * cols;
        for (let j = tile; j < tileEnd; j++) {
          work[base + j] -=
            e0 * factor[u0 + j] + e1 * factor[u1 + j] + (e2 * factor[u2 + j] + e3 * factor[u3 + j]);
        }
      }
    }
  }
}

function emptyGrids(weight: Matrix, format: WeightFormat): Grids {
  const count = weight.rows * blocksPerRow(format, weight.cols);
  return { scales: new Float32Array(count), zeroPoints: new Uint8Array(count) };
}

/** (H_kk + λ) / mean over k, float64 [K]; exactly 1 for a constant diagonal, undefined for a Hessian of zeros. */
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
  quantize,
};
