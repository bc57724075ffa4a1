/**
 * Quantized matrices and what they mean. Codes stay unpacked, one per byte, until a target emits them.
 */
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "./format.ts";
import type { Matrix } from "./tensor.ts";

/** Codes and scales of one matrix. */
export interface QuantizedTensor {
  readonly format: WeightFormat; // kind "integer"
  readonly rows: number; // N
  readonly cols: number; // K
  /** uint8 [N, K], 0 .. 2^bits − 1. */
  readonly codes: Uint8Array;
  /** float32 [N, B], already rounded to the format's scale type; may be negative. */
  readonly scales: Float32Array;
  /** uint8 [N, B], 0 .. 2^bits − 1; undefined when symmetric (then the zero point is 2^(bits−1)). */
  readonly zeroPoints: Uint8Array | undefined;
}

/**
 * The reference meaning of a quantized matrix: `ŵ = scale · (code − zeroPoint)`.
 *
 * @returns float32 [N, K].
 */
export function dequantize(tensor: QuantizedTensor): Matrix {
  const { format, rows, cols, codes, scales, zeroPoints } = tensor;
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  const symmetricZero = 2 ** (format.bits - 1);
  const data = new Float32Array(rows * cols);
  for (let n = 0; n < rows; n++) {
    for (let b = 0; b < blocks; b++) {
      const scale = scales[n * blocks + b];
      const zero = zeroPoints ? zeroPoints[n * blocks + b] : symmetricZero;
      const end = Math.min((b + 1) * blockSize, cols);
      for (let k = b * blockSize; k < end; k++)
        data[n * cols + k] = scale * (codes[n * cols + k] - zero);
    }
  }
  return { rows, cols, data };
}
