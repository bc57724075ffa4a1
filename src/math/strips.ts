/**
 * Moves matrices between JavaScript arrays and the strips of the kernels: [strip][k][4 lines], see
 * `native/dense/layout.ts`. Plain loops: they cost a thousandth of the products around them.
 */

/** Rows that work at a time has in memory; a multiple of the 128 that a product takes at once. */
export const rowsPerPass = 512;

/**
 * Rows of a row-major matrix as strips, of which the first `stride` columns.
 *
 * @param into - [ceil(count / 4)][stride][4]; lines past `count` and k past `cols` are set to 0.
 * @param order - line k of the strips is column `order[k]`.
 */
export function rowsToStrips(
  into: Float32Array | Float64Array,
  stride: number,
  source: Float32Array | Float64Array,
  first: number,
  count: number,
  cols: number,
  order?: Int32Array,
): void {
  const taken = Math.min(cols, stride);
  for (let row = 0; row < Math.ceil(count / 4) * 4; row++) {
    const at = (row >> 2) * stride * 4 + (row & 3);
    if (row >= count) {
      for (let k = 0; k < stride; k++) into[at + 4 * k] = 0;
      continue;
    }
    const from = (first + row) * cols;
    if (order) for (let k = 0; k < taken; k++) into[at + 4 * k] = source[from + order[k]];
    else for (let k = 0; k < taken; k++) into[at + 4 * k] = source[from + k];
    for (let k = taken; k < stride; k++) into[at + 4 * k] = 0;
  }
}

/**
 * The way back: columns `from` .. `from + width` of rows of a row-major matrix from strips.
 *
 * @param cols - columns of the matrix.
 * @param part.order - line k of the strips is column `order[k]`.
 */
export function stripsToRows(
  into: Float64Array | Uint8Array,
  first: number,
  count: number,
  cols: number,
  strips: Float64Array | Uint8Array,
  stride: number,
  part: {
    readonly order?: Int32Array | undefined;
    readonly from?: number;
    readonly width?: number;
  } = {},
): void {
  const { order, from = 0, width = cols - from } = part;
  for (let row = 0; row < count; row++) {
    const at = (row >> 2) * stride * 4 + (row & 3);
    const to = (first + row) * cols + from;
    if (order) for (let k = 0; k < width; k++) into[to + order[k]] = strips[at + 4 * k];
    else for (let k = 0; k < width; k++) into[to + k] = strips[at + 4 * k];
  }
}

/** Columns that work at a time has in memory; a multiple of 4. */
export const columnsPerPass = 1024;

/**
 * Columns `first` .. `first + width` of a row-major matrix as strips, [ceil(width / 4)][count][4]; lines past them are 0.
 *
 * @param count - rows of the matrix that are taken, from the top.
 * @param cols - columns of the matrix.
 */
export function columnsToStrips(
  into: Float64Array,
  source: Float32Array | Float64Array,
  count: number,
  cols: number,
  first = 0,
  width = cols - first,
): void {
  const padded = Math.ceil(width / 4) * 4;
  for (let k = 0; k < count; k++) {
    const from = k * cols + first;
    for (let column = 0; column < padded; column++) {
      const at = ((column >> 2) * count + k) * 4 + (column & 3);
      into[at] = column < width ? source[from + column] : 0;
    }
  }
}
