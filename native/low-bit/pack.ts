/**
 * Brings a matrix of codes into the panels of the kernels, once, when a model is loaded.
 */
import type { MatrixLayout, MatrixShape } from "./layout.ts";

/** The weights as the model stores them. */
export interface LowBitWeights {
  /** Writes the codes of row `row`, 0 .. 2^bits − 1, one byte each, to `into` (uint8 [k]). */
  readRow(row: number, into: Uint8Array): void;
  /** float32 [n, ceil(k / blockSize)]; any value. */
  readonly scales: ArrayLike<number>;
  /** uint8 [n, ceil(k / blockSize)]; not for symmetric matrices, where all are 2^(bits − 1). */
  readonly zeroPoints?: ArrayLike<number> | undefined;
}

/**
 * Packs a whole matrix.
 *
 * @param into - `layout.bytes` bytes at an address that is a multiple of 4; overwritten, padding included.
 *
 * Padded columns have scale 0 and padded K the code 0, which meets activations of 0.
 * Cost: O(n · k); about 1 ns per code and the cost of `readRow`. Memory: one panel of codes.
 * Throws: RangeError when `into` has another size or alignment, or zero points miss.
 */
export function packMatrix(
  shape: MatrixShape,
  layout: MatrixLayout,
  weights: LowBitWeights,
  into: Uint8Array,
): void {
  const { n, k } = shape;
  const { panel, format, block, blocks, blockBytes, panelBytes } = layout;
  if (into.byteLength !== layout.bytes || into.byteOffset % 4 !== 0) {
    throw new RangeError(
      `packed weights take ${layout.bytes} bytes at a multiple of 4, got ${into.byteLength} at ${into.byteOffset}`,
    );
  }
  if (!format.symmetric && !weights.zeroPoints) throw new RangeError("zero points are missing");
  const paddedK = blocks * block;
  const rowBytes = (paddedK * panel.arithmetic.laneBits) / 8;
  const lanes = new Uint32Array((panel.columns * rowBytes) / 4);
  const rows = new Uint8Array(lanes.buffer);
  const codes = new Uint8Array(k);
  const words = new Uint32Array(into.buffer, into.byteOffset, into.byteLength / 4);
  const scales = new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4);
  const writeChunks = chunkWriter(layout, lanes, words);
  // A stored block can be a part of a block of the model.
  const modelBlocks = Math.ceil(k / shape.blockSize);
  const modelBlock = Int32Array.from({ length: blocks }, (_, at) =>
    Math.floor((at * block) / shape.blockSize),
  );
  // Codes stored in more bits than they have move to the zero point of that width.
  const shift = format.symmetric ? 2 ** (format.bits - 1) - 2 ** (shape.bits - 1) : 0;
  const isWide = panel.arithmetic.laneBits === 16;
  for (let index = 0; index < layout.panels; index++) {
    const firstRow = index * panel.columns;
    const columns = Math.min(panel.columns, n - firstRow);
    if (columns < panel.columns) lanes.fill(0);
    for (let column = 0; column < columns; column++) {
      weights.readRow(firstRow + column, codes);
      if (shift > 0) for (let i = 0; i < k; i++) codes[i] += shift;
      const at = column * rowBytes;
      if (isWide) {
        for (let i = 0; i < k; i++) rows[at + 2 * i] = codes[i];
      } else rows.set(codes, at);
    }
    const panelAt = index * panelBytes;
    for (let at = 0; at < blocks; at++) {
      const blockAt = panelAt + at * blockBytes;
      const scalesAt = (blockAt + blockBytes - panel.scaleBytes) / 4;
      for (let column = 0; column < panel.columns; column++) {
        const from = (firstRow + column) * modelBlocks + modelBlock[at];
        scales[scalesAt + column] = column < columns ? weights.scales[from] : 0;
      }
      if (weights.zeroPoints && !format.symmetric) {
        into.fill(0, blockAt, blockAt + panel.zeroPointBytes);
        for (let column = 0; column < columns; column++) {
          const from = (firstRow + column) * modelBlocks + modelBlock[at];
          into[blockAt + column] = weights.zeroPoints[from];
        }
      }
    }
    writeChunks(panelAt);
  }
}

/** Writes the codes of one panel; `lanes` holds uint32 [columns][paddedK / codesPerLane]. */
function chunkWriter(
  { panel, block, blocks, blockBytes }: MatrixLayout,
  lanes: Uint32Array,
  words: Uint32Array,
): (panelAt: number) => void {
  const { laneBits, codesPerLane } = panel.arithmetic;
  const perChunk = panel.bitLayout.codes.length;
  const wordCount = panel.bitLayout.words;
  const rowLanes = (blocks * block) / codesPerLane;
  const chunks = block / panel.chunk;
  const quadWords = 4 * wordCount;
  const repeated = laneBits === 8 ? 0x01010101 : 0x00010001;
  // For each word: code index, mask before the shift and shift left (negative: right), of every piece in it.
  const pieces = Array.from({ length: wordCount }, (_, word) =>
    Int32Array.from(
      panel.bitLayout.codes.flatMap((code, index) =>
        code
          .filter((piece) => piece.word === word)
          .flatMap(({ at, bits, from }) => [
            index,
            (((1 << bits) - 1) << at) * repeated,
            from - at,
          ]),
      ),
    ),
  );
  return (panelAt) => {
    for (let column = 0; column < panel.columns; column++) {
      let from = column * rowLanes;
      const inChunk = (column >> 2) * quadWords + (column & 3);
      for (let at = 0; at < blocks; at++) {
        let to = (panelAt + at * blockBytes + panel.zeroPointBytes) / 4 + inChunk;
        for (let chunk = 0; chunk < chunks; chunk++) {
          for (let word = 0; word < wordCount; word++) {
            const list = pieces[word];
            let bits = 0;
            for (let piece = 0; piece < list.length; piece += 3) {
              const lane = lanes[from + list[piece]] & list[piece + 1];
              const shift = list[piece + 2];
              bits |= shift >= 0 ? lane << shift : lane >>> -shift;
            }
            words[to + 4 * word] = bits;
          }
          from += perChunk;
          to += panel.chunkBytes / 4;
        }
      }
    }
  };
}
