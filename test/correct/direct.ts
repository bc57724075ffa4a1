/**
 * Direct float64 solutions of what the corrections compute: least squares on the activations themselves and textbook
 * column loops with explicit inverses. No Gram trick, no Cholesky factor, no code of `src/`.
 */
import { Matrix as Dense, QrDecomposition } from "ml-matrix";
import type { Matrix } from "../../src/core/tensor.ts";
import { referenceInverse } from "../support/reference.ts";
import type { Streams } from "./samples.ts";

/**
 * argmin over D of (2/T) ‖R − X̂_F D_Fᵀ‖² + λ ‖D‖² by the QR decomposition of [X̂_F; √(λT/2) I], columns outside F
 * staying 0.
 *
 * @param residual - R [T, N].
 * @returns D [N, K].
 */
export function ridgeLeastSquares(
  streams: Streams,
  residual: Dense,
  lambda: number,
  columns: readonly number[],
): Dense {
  const { rows, cols, quantized } = streams;
  const width = columns.length;
  const system = Dense.zeros(rows + width, width);
  const right = Dense.zeros(rows + width, residual.columns);
  for (let t = 0; t < rows; t++) {
    for (let f = 0; f < width; f++) system.set(t, f, quantized[t * cols + columns[f]]);
    for (let n = 0; n < residual.columns; n++) right.set(t, n, residual.get(t, n));
  }
  for (let f = 0; f < width; f++) system.set(rows + f, f, Math.sqrt((lambda * rows) / 2));
  const solution = new QrDecomposition(system).solve(right);
  const result = Dense.zeros(residual.columns, cols);
  for (let n = 0; n < residual.columns; n++) {
    for (let f = 0; f < width; f++) result.set(n, columns[f], solution.get(f, n));
  }
  return result;
}

/** (X − X̂) Wᵀ − X̂ Dᵀ, [T, N]: the output error of W + D. */
export function outputResidual(streams: Streams, weight: Matrix, change?: Dense): Dense {
  const { rows, cols, float, quantized } = streams;
  const result = Dense.zeros(rows, weight.rows);
  for (let t = 0; t < rows; t++) {
    for (let n = 0; n < weight.rows; n++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) {
        const at = t * cols + k;
        sum += (float[at] - quantized[at]) * weight.data[n * cols + k];
        if (change) sum -= quantized[at] * change.get(n, k);
      }
      result.set(t, n, sum);
    }
  }
  return result;
}

/** A with the rows and columns that `indices` name, in that order. */
export function submatrix(
  matrix: Float64Array,
  size: number,
  rows: readonly number[],
  columns: readonly number[],
): Float64Array {
  return Float64Array.from(rows.flatMap((i) => columns.map((j) => matrix[i * size + j])));
}

/** Row vector times square matrix. */
export function rowTimes(row: ArrayLike<number>, matrix: Float64Array): number[] {
  const size = row.length;
  return Array.from({ length: size }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += row[i] * matrix[i * size + j];
    return sum;
  });
}

/** H + λI; a zero on the diagonal counts as 1. */
export function damped(hessian: Float64Array, size: number, lambda: number): Float64Array {
  const result = hessian.slice();
  for (let k = 0; k < size; k++) {
    if (result[k * size + k] === 0) result[k * size + k] = 1;
    result[k * size + k] += lambda;
  }
  return result;
}

/** V_iF of the column i against the columns after it: row · (M_FF)⁻¹, by an explicit inverse each time. */
export function conditional(
  row: readonly number[],
  matrix: Float64Array,
  size: number,
  rest: readonly number[],
): number[] {
  if (rest.length === 0) return [];
  return rowTimes(row, referenceInverse(submatrix(matrix, size, rest, rest), rest.length));
}

/**
 * One row of weights through the column loop of GPTQ: round column i, let the columns after it make up for its
 * rounding error, (w_i − q_i) H_iF M_FF⁻¹, and for its drift, w_i · drift_iF M_FF⁻¹.
 *
 * @returns the rounded row.
 */
export function columnLoop(
  row: ArrayLike<number>,
  hessian: Float64Array,
  lambda: number,
  order: readonly number[],
  round: (value: number) => number,
  drift?: Float64Array,
): number[] {
  const size = order.length;
  const matrix = damped(hessian, size, lambda);
  const work = Array.from(row);
  const result = [...work];
  order.forEach((i, position) => {
    const rest = order.slice(position + 1);
    result[i] = round(work[i]);
    const wanted = rest.map(
      (j) =>
        (work[i] - result[i]) * hessian[i * size + j] + (drift ? work[i] * drift[i * size + j] : 0),
    );
    conditional(wanted, matrix, size, rest).forEach((value, f) => {
      work[rest[f]] += value;
    });
  });
  return result;
}
