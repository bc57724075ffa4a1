/**
 * Slow, obviously right twins of the numeric code: float64, plain loops, no blocking, no shared code with `src/`.
 * Invariant: nothing here is imported by `src/`, and nothing here imports an algorithm from `src/`.
 */

/** A·B by the definition; A [rows, inner], B [inner, cols]. */
export function referenceProduct(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  rows: number,
  inner: number,
  cols: number,
): Float64Array {
  const result = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) {
      for (let k = 0; k < inner; k++) result[i * cols + j] += a[i * inner + k] * b[k * cols + j];
    }
  }
  return result;
}

export function transpose(a: ArrayLike<number>, rows: number, cols: number): Float64Array {
  const result = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) result[j * rows + i] = a[i * cols + j];
  }
  return result;
}

/** H = (2/T) XᵀX; X [T, K]. */
export function referenceHessian(x: ArrayLike<number>, tokens: number, k: number): Float64Array {
  return referenceProduct(transpose(x, tokens, k), x, k, tokens, k).map((v) => (v * 2) / tokens);
}

/** tr(Δ H Δᵀ) by the definition. */
export function referenceQuadraticForm(
  delta: ArrayLike<number>,
  hessian: Float64Array,
  rows: number,
  k: number,
): number {
  const moved = referenceProduct(delta, hessian, rows, k, k);
  return moved.reduce((sum, v, i) => sum + v * delta[i], 0);
}

/** Inverse by Gauss–Jordan elimination with partial pivoting. */
export function referenceInverse(matrix: Float64Array, size: number): Float64Array {
  const rows = Array.from({ length: size }, (_, i) => [
    ...matrix.slice(i * size, (i + 1) * size),
    ...Array.from({ length: size }, (_, j) => (i === j ? 1 : 0)),
  ]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let i = column; i < size; i++) {
      if (Math.abs(rows[i][column]) > Math.abs(rows[pivot][column])) pivot = i;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    const divisor = rows[column][column];
    rows[column] = rows[column].map((v) => v / divisor);
    for (let i = 0; i < size; i++) {
      const factor = rows[i][column];
      if (i === column || factor === 0) continue;
      for (let j = 0; j < 2 * size; j++) rows[i][j] -= factor * rows[column][j];
    }
  }
  return Float64Array.from(rows.flatMap((row) => row.slice(size)));
}

/** All finite float16 values that are not negative, ascending: bit pattern = index. */
const float16Values = Float64Array.from({ length: 0x7c00 }, (_, bits) => {
  const exponent = bits >> 10;
  const fraction = bits & 0x3ff;
  return exponent === 0 ? fraction / 2 ** 24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
});

/** float16 bit pattern nearest to a value, ties to the even pattern, found by bisection in the table of all values. */
export function referenceFloat16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  // 65520 is half-way between the largest finite value and the next one of an unbounded exponent.
  if (magnitude >= 65520) return sign | 0x7c00;
  let low = 0;
  let high = float16Values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (float16Values[middle] <= magnitude) low = middle;
    else high = middle;
  }
  const below = magnitude - float16Values[low];
  const above = float16Values[high] - magnitude;
  const takeHigh = above < below || (above === below && high % 2 === 0);
  return sign | (takeHigh ? high : low);
}

/** Value of a finite float16 bit pattern. */
export function referenceFloat16(bits: number): number {
  return (bits & 0x8000 ? -1 : 1) * float16Values[bits & 0x7fff];
}

/** Nearest integer, ties to even, by comparing with both neighbours. */
export function referenceRound(x: number): number {
  const below = Math.floor(x) + 0; // + 0 turns −0 into 0
  if (x - below < 0.5) return below;
  if (x - below > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** The part of a weight format that the references need. */
export interface ReferenceFormat {
  readonly bits: number;
  readonly blockSize: number;
  readonly symmetric: boolean;
  readonly scaleType: "float32" | "float16";
}

export interface ReferenceGrid {
  readonly scale: number;
  readonly zeroPoint: number;
}

function storeScale(scale: number, format: ReferenceFormat): number {
  return format.scaleType === "float32"
    ? Math.fround(scale)
    : referenceFloat16(referenceFloat16Bits(Math.fround(scale)));
}

/** Min-max grid of one block. */
export function referenceMinMaxGrid(
  values: readonly number[],
  format: ReferenceFormat,
): ReferenceGrid {
  const levels = 2 ** format.bits - 1;
  if (format.symmetric) {
    const zeroPoint = 2 ** (format.bits - 1);
    const largest = Math.max(...values.map(Math.abs));
    const extreme = values.find((w) => Math.abs(w) === largest) ?? 0;
    return { scale: storeScale(-extreme / zeroPoint, format), zeroPoint };
  }
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const scale = storeScale((high - low) / levels, format);
  if (scale === 0) return { scale, zeroPoint: 0 };
  return { scale, zeroPoint: Math.min(levels, referenceRound(-low / scale + 0)) };
}

/** Nearest code on a grid. */
export function referenceCode(w: number, grid: ReferenceGrid, bits: number): number {
  if (grid.scale === 0) return grid.zeroPoint;
  const code = referenceRound(w / grid.scale) + grid.zeroPoint;
  return Math.max(0, Math.min(2 ** bits - 1, code));
}

export interface ReferenceResult {
  readonly codes: number[];
  readonly scales: number[];
  readonly zeroPoints: number[];
}

/** Round to nearest on min-max grids. */
export function referenceRtn(
  weight: Float32Array,
  rows: number,
  cols: number,
  format: ReferenceFormat,
): ReferenceResult {
  const blockSize = format.blockSize === 0 ? cols : format.blockSize;
  const result: ReferenceResult = { codes: [], scales: [], zeroPoints: [] };
  for (let n = 0; n < rows; n++) {
    for (let start = 0; start < cols; start += blockSize) {
      const end = Math.min(start + blockSize, cols);
      const values = [...weight.slice(n * cols + start, n * cols + end)];
      const grid = referenceMinMaxGrid(values, format);
      result.scales.push(grid.scale);
      result.zeroPoints.push(grid.zeroPoint);
      for (const w of values) result.codes.push(referenceCode(w, grid, format.bits));
    }
  }
  return result;
}

/**
 * GPTQ as optimal brain quantization in a fixed order: after each column its row and column are eliminated from an
 * explicit inverse. No Cholesky factor, no lazy updates. Min-max grids, fitted when the block starts.
 */
export function referenceGptq(
  weight: Float32Array,
  rows: number,
  cols: number,
  format: ReferenceFormat,
  hessian: Float64Array,
  damping: number,
): ReferenceResult {
  const blockSize = format.blockSize === 0 ? cols : format.blockSize;
  let trace = 0;
  for (let k = 0; k < cols; k++) trace += hessian[k * cols + k];
  const damped = hessian.slice();
  for (let k = 0; k < cols; k++) {
    if (damped[k * cols + k] === 0) damped[k * cols + k] = 1;
    damped[k * cols + k] += (damping * trace) / cols;
  }
  const inverse = referenceInverse(damped, cols);
  const w = Float64Array.from(weight);
  const codes = new Array<number>(rows * cols).fill(0);
  const scales: number[][] = Array.from({ length: rows }, () => []);
  const zeroPoints: number[][] = Array.from({ length: rows }, () => []);
  const grids: ReferenceGrid[] = [];
  for (let k = 0; k < cols; k++) {
    for (let n = 0; n < rows; n++) {
      if (k % blockSize === 0) {
        const end = Math.min(k + blockSize, cols);
        grids[n] = referenceMinMaxGrid([...w.slice(n * cols + k, n * cols + end)], format);
        scales[n].push(grids[n].scale);
        zeroPoints[n].push(grids[n].zeroPoint);
      }
      const code = referenceCode(w[n * cols + k], grids[n], format.bits);
      codes[n * cols + k] = code;
      const rounded = grids[n].scale * (code - grids[n].zeroPoint);
      const error = (w[n * cols + k] - rounded) / inverse[k * cols + k];
      for (let j = k; j < cols; j++) w[n * cols + j] -= error * inverse[k * cols + j];
    }
    const column = inverse.slice(k * cols, (k + 1) * cols);
    for (let i = k + 1; i < cols; i++) {
      for (let j = k + 1; j < cols; j++) {
        inverse[i * cols + j] -= (column[i] * column[j]) / column[k];
      }
    }
  }
  return { codes, scales: scales.flat(), zeroPoints: zeroPoints.flat() };
}

/** L of A = L Lᵀ, column by column. */
export function referenceCholesky(matrix: Float64Array, size: number): Float64Array {
  const l = new Float64Array(size * size);
  for (let j = 0; j < size; j++) {
    for (let i = j; i < size; i++) {
      let sum = matrix[i * size + j];
      for (let k = 0; k < j; k++) sum -= l[i * size + k] * l[j * size + k];
      l[i * size + j] = i === j ? Math.sqrt(sum) : sum / l[j * size + j];
    }
  }
  return l;
}

export interface ReferenceLoop {
  readonly rows: number;
  readonly cols: number;
  readonly format: ReferenceFormat;
  /** Damped, in rounding order. */
  readonly hessian: Float64Array;
  /** P, strictly upper, in rounding order. */
  readonly feed?: Float64Array;
  /** Column of the weight that is rounded k-th; by default k. Grids are then fitted to the weights as they come. */
  readonly order?: readonly number[];
}

/**
 * The textbook loop of GPTQ and GPTAQ, min-max grids: W[:, i:] += −e ⊗ U[i, i:] + w ⊗ P[i, i:] with Uᵀ U = H⁻¹,
 * e = (w − ŵ) / U_ii and w the column before it is rounded. In column order grids are fitted when their block starts.
 */
export function referenceColumnLoop(weight: Float32Array, loop: ReferenceLoop): ReferenceResult {
  const { rows, cols, format, hessian, feed, order } = loop;
  const blockSize = format.blockSize === 0 ? cols : format.blockSize;
  const blocks = Math.ceil(cols / blockSize);
  const u = transpose(referenceCholesky(referenceInverse(hessian, cols), cols), cols, cols);
  const codes = new Array<number>(rows * cols).fill(0);
  const grids: ReferenceGrid[] = new Array(rows * blocks);
  for (let n = 0; n < rows; n++) {
    const column = (k: number) => order?.[k] ?? k;
    const w = Array.from({ length: cols }, (_, k) => weight[n * cols + column(k)]);
    const place = (b: number, values: readonly number[]) => {
      grids[n * blocks + b] = referenceMinMaxGrid(values, format);
    };
    if (order) {
      for (let b = 0; b < blocks; b++) {
        const end = Math.min((b + 1) * blockSize, cols);
        place(b, [...weight.slice(n * cols + b * blockSize, n * cols + end)]);
      }
    }
    for (let i = 0; i < cols; i++) {
      if (!order && i % blockSize === 0) place(i / blockSize, w.slice(i, i + blockSize));
      const before = w[i];
      const grid = grids[n * blocks + Math.floor(column(i) / blockSize)];
      const code = referenceCode(before, grid, format.bits);
      codes[n * cols + column(i)] = code;
      const error = (before - grid.scale * (code - grid.zeroPoint)) / u[i * cols + i];
      for (let j = i; j < cols; j++) {
        w[j] += -error * u[i * cols + j] + before * (feed?.[i * cols + j] ?? 0);
      }
    }
  }
  return {
    codes,
    scales: grids.map(({ scale }) => scale),
    zeroPoints: grids.map(({ zeroPoint }) => zeroPoint),
  };
}
