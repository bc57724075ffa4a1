/**
 * Whether float16 can hold the scales of a layer.
 * Not here: telling the user about the fallback (the pipeline does). Invariant: depends on weight and format only.
 */
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import { type Matrix, roundToFloat16 } from "../core/tensor.ts";
import { minMaxScale } from "./grid.ts";

/** A float16 scale off by more than this adds visibly to a block's error; only deep subnormals get there. */
const largestRelativeRounding = 2 ** -6;

/**
 * The scale type a layer needs in a format: float16 unless some block's scale does not survive the rounding.
 *
 *   float32 when |float16(s) − s| > 2⁻⁶ · |s| for the min-max scale s of any block that is not all zeros
 *
 * Infinity (|s| > 65504) counts as such an error; so does a scale below about 2⁻¹⁹.
 *
 * @param weight - float32 [N, K]; not modified.
 * @returns the format's own scale type for float formats.
 *
 * Cost: one pass over the weights.
 * Numerics: NaN and infinite weights are ignored here; the quantizer refuses them.
 */
export function scaleTypeFor(weight: Matrix, format: WeightFormat): "float16" | "float32" {
  if (format.kind === "float") return format.scaleType;
  const { rows, cols, data } = weight;
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  for (let n = 0; n < rows; n++) {
    for (let b = 0; b < blocks; b++) {
      const count = Math.min(blockSize, cols - b * blockSize);
      const start = n * cols + b * blockSize;
      const scale = minMaxScale(data, start, count, format.bits, format.symmetric);
      const error = Math.abs(roundToFloat16(scale) - scale);
      if (error > largestRelativeRounding * Math.abs(scale)) return "float32";
    }
  }
  return "float16";
}
