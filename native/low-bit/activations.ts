/**
 * How quantized activations lie in memory. Rows come in tiles of nearly equal height, at most `tileRows`: in a tile
 * the 32-bit lanes of its rows stand side by side, so that a GEMM reads them front to back.
 *
 *   codes   [tile] [paddedK / codesPerLane] [rows of the tile] 32-bit lanes
 *   sums    [tile] [paddedK / 16 + 1] [rows of the tile] int32: the sum of all codes before this multiple of 16
 *   scales  [tile] [spans] [rows of the tile] float32
 *
 * Sums are running totals, so blocks of every size find theirs as a difference: all products with one input share one
 * buffer. Invariant: the layout depends on (activation type, m, k) alone; K is padded with zeros to whole spans.
 */
import { type ActivationType, arithmetics } from "./arithmetic.ts";
import { spanSize } from "./layout.ts";

export interface RowTiles {
  readonly tiles: number;
  /** Rows of the lower tiles; the first `tallTiles` have one more. */
  readonly rows: number;
  readonly tallTiles: number;
}

/** Cuts m ≥ 1 rows into as few tiles as possible, of nearly equal height: a lone last row would waste the tile. */
export function rowTiles(m: number, activation: ActivationType): RowTiles {
  const tiles = Math.ceil(m / arithmetics[activation].tileRows);
  return { tiles, rows: Math.floor(m / tiles), tallTiles: m % tiles };
}

export interface ActivationLayout {
  readonly paddedK: number;
  readonly spans: number;
  /** Byte offsets in the buffer. */
  readonly codes: number;
  readonly sums: number;
  readonly scales: number;
  readonly bytes: number;
}

export function activationLayout(
  m: number,
  k: number,
  activation: ActivationType,
): ActivationLayout {
  const spans = Math.ceil(k / spanSize);
  const paddedK = spans * spanSize;
  const align = (offset: number) => 16 * Math.ceil(offset / 16);
  const sums = align((m * paddedK * arithmetics[activation].laneBits) / 8);
  const scales = align(sums + 4 * m * (paddedK / 16 + 1));
  return { paddedK, spans, codes: 0, sums, scales, bytes: align(scales + 4 * m * spans) };
}
