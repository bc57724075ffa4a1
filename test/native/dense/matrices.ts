/** Strips, panels and their plain meaning, for the tests of the dense kernels. */
import { upperPanelOffset } from "../../../native/dense/layout.ts";
import { createRandom } from "../../../src/core/random.ts";

export function randomDoubles(length: number, seed: number): Float64Array {
  const random = createRandom(seed);
  return Float64Array.from({ length }, () => random.normal());
}

/** Line i, position k of strips [strip][k][4]. */
export const inStrips = (strips: Float64Array, length: number, line: number, k: number): number =>
  strips[((line >> 2) * length + k) * 4 + (line & 3)];

/** Float64 elements of the upper panels of `size` columns. */
export const panelLength = (size: number): number => upperPanelOffset(size / 4) / 8;

/** Index of row i, column j in upper panels; rows go to the end of the column's panel. */
export const inPanels = (i: number, j: number): number =>
  upperPanelOffset(j >> 2) / 8 + 4 * i + (j & 3);

/** A triangle that can be divided by: diagonal 1 to 2, rest small; what lies below the diagonal is NaN. */
export function randomTriangle(size: number, seed: number): Float64Array {
  const random = createRandom(seed);
  const panels = new Float64Array(panelLength(size)).fill(Number.NaN);
  for (let j = 0; j < size; j++) {
    for (let i = 0; i <= j; i++) {
      panels[inPanels(i, j)] = i === j ? 1 + random.next() : random.normal() / Math.sqrt(size);
    }
  }
  return panels;
}

/** Ranges that cut items into pieces, last piece first: any split must give the same bytes. */
export function cutUp(items: number, piece: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (let begin = 0; begin < items; begin += piece) {
    ranges.unshift([begin, Math.min(begin + piece, items)]);
  }
  return ranges;
}

/** Σ_k a · b in one chain, upwards. */
export function chain(from: number, to: number, term: (k: number) => number): number {
  let sum = 0;
  for (let k = from; k < to; k++) sum += term(k);
  return sum;
}
