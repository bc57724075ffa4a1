/**
 * Moves matrices between JavaScript arrays and the strips of the kernels: [strip][k][4 lines], see
 * `native/dense/layout.ts`. Plain loops: they cost a thousandth of the products around them.
 */

/** Rows that work at a time has in memory; a multiple of the 128 that a product takes at once. */
export const rowsPerPass = 512;

/**
 * Rows of a row-major matrix as strips.
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
  for (let row = 0; row < Math.ceil(count / 4) * 4; row++) {
    const at = (row >> 2) * stride * 4 + (row & 3);
    if (row >= count) {
      for (let k = 0; k < stride; k++) into[at + 4 * k] = 0;
      continue;
    }
    const from = (first + row) * cols;
    if (order) for (let k = 0; k < cols; k++) into[at + 4 * k] = source[from + order[k]];
    else for (let k = 0; k < cols; k++) into[at + 4 * k] = source[from + k];
    for (let k = cols; k < stride; k++) into[at + 4 * k] = 0;
  }
}

/** The way back: rows of a row-major matrix from strips. */
export function stripsToRows(
  into: Float64Array | Uint8Array,
  first: number,
  count: number,
  cols: number,
  strips: Float64Array | Uint8Array,
  stride: number,
  order?: Int32Array,
): void {
  for (let row = 0; row < count; row++) {
    const at = (row >> 2) * stride * 4 + (row & 3);
    const to = (first + row) * cols;
    if (order) for (let k = 0; k < cols; k++) into[to + order[k]] = strips[at + 4 * k];
    else for (let k = 0; k < cols; k++) into[to + k] = strips[at + 4 * k];
  }
}

/** Columns of a row-major matrix as strips, [ceil(cols / 4)][count][4]; lines past `cols` are 0. */
export function columnsToStrips(
  into: Float64Array,
  source: Float32Array | Float64Array,
  count: number,
  cols: number,
): void {
  const padded = Math.ceil(cols / 4) * 4;
  for (let k = 0; k < count; k++) {
    const from = k * cols;
    for (let column = 0; column < padded; column++) {
      const at = ((column >> 2) * count + k) * 4 + (column & 3);
      into[at] = column < cols ? source[from + column] : 0;
    }
  }
}
