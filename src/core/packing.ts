/**
 * Codes to bytes and back: one LSB-first contiguous bitstream per block or per row.
 * Code i occupies bits [i·bits, (i+1)·bits) of its stream; the stream is padded with zero bits to a whole byte.
 * For 2, 4 and 8 bits this is the layout of ONNX Runtime's MatMulNBits.
 */

/**
 * Packs a row-major code matrix, each row cut in segments of `segment` codes.
 *
 * @param codes - uint8 [rows, cols], 0 .. 2^bits − 1.
 * @param segment - codes per bitstream; a ragged last segment is padded with `pad` to full length.
 * @param pad - code that fills a ragged last segment.
 * @returns uint8 [rows, ceil(cols / segment), ceil(segment · bits / 8)].
 */
export function packCodes(
  codes: Uint8Array,
  rows: number,
  cols: number,
  bits: number,
  segment: number,
  pad = 0,
): Uint8Array {
  const segments = Math.ceil(cols / segment);
  const segmentBytes = Math.ceil((segment * bits) / 8);
  const packed = new Uint8Array(rows * segments * segmentBytes);
  for (let r = 0; r < rows; r++) {
    for (let s = 0; s < segments; s++) {
      const base = (r * segments + s) * segmentBytes;
      for (let i = 0; i < segment; i++) {
        const col = s * segment + i;
        const code = col < cols ? codes[r * cols + col] : pad;
        const bit = i * bits;
        const word = code << (bit & 7);
        packed[base + (bit >> 3)] |= word & 0xff;
        if (word > 0xff) packed[base + (bit >> 3) + 1] |= word >> 8;
      }
    }
  }
  return packed;
}

/** Inverse of `packCodes`; the padding is dropped. */
export function unpackCodes(
  packed: Uint8Array,
  rows: number,
  cols: number,
  bits: number,
  segment: number,
): Uint8Array {
  const segments = Math.ceil(cols / segment);
  const segmentBytes = Math.ceil((segment * bits) / 8);
  const mask = 2 ** bits - 1;
  const codes = new Uint8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const base = (r * segments + Math.floor(c / segment)) * segmentBytes;
      const bit = (c % segment) * bits;
      const low = packed[base + (bit >> 3)];
      const high = (bit & 7) + bits > 8 ? packed[base + (bit >> 3) + 1] : 0;
      codes[r * cols + c] = ((low | (high << 8)) >> (bit & 7)) & mask;
    }
  }
  return codes;
}
