/**
 * Cholesky factorization and triangular inversion of flat float64 matrices.
 * Not here: damping and what happens after a failure (`inverse-factor.ts`).
 * Invariant: only the lower triangle is read; the strict upper triangle is zero afterwards.
 */

/** Panel width: a 64-column panel of 4096 rows takes 2 MB and stays in the second-level cache. */
const panelColumns = 64;

/**
 * Factors a symmetric positive definite matrix in place.
 *
 *   A = L Lᵀ,   L lower triangular with positive diagonal
 *
 * @param a - float64 [size, size] row-major; lower triangle read, overwritten with L. Garbage after a failure.
 * @returns false when a pivot is not finite or not above rounding noise, size · 2⁻⁵² · A_ii: the matrix is not
 *   numerically positive definite.
 *
 * Cost: size³/6 multiply-adds, O(64 · size) extra memory.
 * Source: Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.5 (block outer-product form).
 * Numerics: float64, fixed summation order: the same input gives the same bits everywhere.
 */
export function choleskyInPlace(a: Float64Array, size: number): boolean {
  const panel = new Float64Array(panelColumns * size);
  const noise = Float64Array.from({ length: size }, (_, i) => size * 2 ** -52 * a[i * size + i]);
  for (let start = 0; start < size; start += panelColumns) {
    const width = Math.min(panelColumns, size - start);
    if (!factorDiagonalBlock(a, size, start, width, noise)) return false;
    solvePanel(a, size, start, width);
    subtractPanelProduct(a, size, start, width, panel);
  }
  for (let i = 0; i < size; i++) a.fill(0, i * size + i + 1, (i + 1) * size);
  return true;
}

function factorDiagonalBlock(
  a: Float64Array,
  size: number,
  start: number,
  width: number,
  noise: Float64Array,
): boolean {
  for (let i = start; i < start + width; i++) {
    const rowI = i * size;
    for (let j = start; j <= i; j++) {
      const rowJ = j * size;
      let sum = a[rowI + j];
      for (let k = start; k < j; k++) sum -= a[rowI + k] * a[rowJ + k];
      if (j < i) {
        a[rowI + j] = sum / a[rowJ + j];
      } else {
        if (!(sum > Math.max(0, noise[i]) && Number.isFinite(sum))) return false;
        a[rowI + i] = Math.sqrt(sum);
      }
    }
  }
  return true;
}

/** Rows below the diagonal block: L_panel ← A_panel · L_block⁻ᵀ. */
function solvePanel(a: Float64Array, size: number, start: number, width: number): void {
  for (let i = start + width; i < size; i++) {
    const rowI = i * size;
    for (let j = start; j < start + width; j++) {
      const rowJ = j * size;
      let sum = a[rowI + j];
      for (let k = start; k < j; k++) sum -= a[rowI + k] * a[rowJ + k];
      a[rowI + j] = sum / a[rowJ + j];
    }
  }
}

/**
 * A_rest ← A_rest − P Pᵀ on the lower triangle, P the panel below the diagonal block. Tiles of 2 × 4 dot products:
 * eight accumulators and six operands fit the sixteen float registers.
 */
function subtractPanelProduct(
  a: Float64Array,
  size: number,
  start: number,
  width: number,
  panel: Float64Array,
): void {
  const first = start + width;
  const rows = size - first;
  for (let i = 0; i < rows; i++) {
    const source = (first + i) * size + start;
    panel.set(a.subarray(source, source + width), i * width);
  }
  for (let i = 0; i < rows; i += 2) {
    const hasPair = i + 1 < rows;
    const i0 = i * width;
    const i1 = hasPair ? i0 + width : i0;
    const out0 = (first + i) * size + first;
    const out1 = out0 + size;
    const limit = Math.min(i + 2, rows);
    for (let j = 0; j < limit; j += 4) {
      // Past the last row the tile repeats it; past the diagonal it writes entries nobody reads.
      const j0 = j * width;
      const j1 = Math.min(j + 1, rows - 1) * width;
      const j2 = Math.min(j + 2, rows - 1) * width;
      const j3 = Math.min(j + 3, rows - 1) * width;
      let s00 = 0;
      let s01 = 0;
      let s02 = 0;
      let s03 = 0;
      let s10 = 0;
      let s11 = 0;
      let s12 = 0;
      let s13 = 0;
      for (let k = 0; k < width; k++) {
        const x0 = panel[i0 + k];
        const x1 = panel[i1 + k];
        const y0 = panel[j0 + k];
        const y1 = panel[j1 + k];
        const y2 = panel[j2 + k];
        const y3 = panel[j3 + k];
        s00 += x0 * y0;
        s01 += x0 * y1;
        s02 += x0 * y2;
        s03 += x0 * y3;
        s10 += x1 * y0;
        s11 += x1 * y1;
        s12 += x1 * y2;
        s13 += x1 * y3;
      }
      const columns = Math.min(4, rows - j);
      a[out0 + j] -= s00;
      if (columns > 1) a[out0 + j + 1] -= s01;
      if (columns > 2) a[out0 + j + 2] -= s02;
      if (columns > 3) a[out0 + j + 3] -= s03;
      if (!hasPair) continue;
      a[out1 + j] -= s10;
      if (columns > 1) a[out1 + j + 1] -= s11;
      if (columns > 2) a[out1 + j + 2] -= s12;
      if (columns > 3) a[out1 + j + 3] -= s13;
    }
  }
}

/**
 * Inverts a lower triangular matrix in place.
 *
 *   X_i = −(1 / L_ii) · Σ_{j<i} L_ij X_j + e_i / L_ii
 *
 * @param l - float64 [size, size] row-major, zero above the diagonal, non-zero on it; overwritten with L⁻¹.
 *
 * Cost: size³/6 multiply-adds, O(64 · size) extra memory.
 * Source: Golub & Van Loan, section 3.1 (row-oriented forward substitution), in blocks of rows.
 * Numerics: float64; four rows are added per pass, so sums associate in groups of four.
 */
export function invertLowerInPlace(l: Float64Array, size: number): void {
  const coefficients = new Float64Array(panelColumns * size);
  for (let start = 0; start < size; start += panelColumns) {
    const width = Math.min(panelColumns, size - start);
    for (let i = 0; i < width; i++) {
      const row = (start + i) * size;
      coefficients.set(l.subarray(row, row + start + i + 1), i * size);
      l.fill(0, row, row + start + width);
    }
    // All finished rows first, sixty-four target rows per pass over them, then the rows of this block.
    for (let j = 0; j < start; j += 4) {
      for (let i = 0; i < width; i++) {
        subtractFourRows(l, size, start + i, coefficients, i * size, j, j + 4);
      }
    }
    for (let i = 0; i < width; i++) {
      const row = (start + i) * size;
      const base = i * size;
      for (let j = start; j < start + i; j++) {
        const factor = coefficients[base + j];
        const source = j * size;
        for (let c = 0; c <= j; c++) l[row + c] -= factor * l[source + c];
      }
      const diagonal = coefficients[base + start + i];
      for (let c = 0; c < start + i; c++) l[row + c] /= diagonal;
      l[row + start + i] = 1 / diagonal;
    }
  }
}

/** l[target, 0..end) −= Σ_{t<4} coefficients[base + first + t] · l[first + t, 0..end). */
function subtractFourRows(
  l: Float64Array,
  size: number,
  target: number,
  coefficients: Float64Array,
  base: number,
  first: number,
  end: number,
): void {
  const c0 = coefficients[base + first];
  const c1 = coefficients[base + first + 1];
  const c2 = coefficients[base + first + 2];
  const c3 = coefficients[base + first + 3];
  if (c0 === 0 && c1 === 0 && c2 === 0 && c3 === 0) return;
  const row = target * size;
  const r0 = first * size;
  const r1 = r0 + size;
  const r2 = r1 + size;
  const r3 = r2 + size;
  for (let c = 0; c < end; c++) {
    l[row + c] -= c0 * l[r0 + c] + c1 * l[r1 + c] + (c2 * l[r2 + c] + c3 * l[r3 + c]);
  }
}
