/**
 * The stored tensors that several forms share: packed codes, scales, zero points.
 */
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import { packCodes } from "../core/packing.ts";
import { bytesOf, toFloat16Bits } from "../core/tensor.ts";
import type { StoredTensor } from "./form.ts";

/** Bytes of one block's bitstream. */
export function blockBytes(format: WeightFormat, k: number, bits: number): number {
  return Math.ceil((effectiveBlockSize(format, k) * bits) / 8);
}

/**
 * Codes as uint8 [N, B, blockBytes], one LSB-first bitstream per block.
 *
 * @param bits - width that is stored; `select` takes these bits out of the code (all of it by default).
 */
export function storedCodes(
  layer: Layer,
  format: WeightFormat,
  options: { bits?: number; role?: string; select?: (code: number) => number } = {},
): StoredTensor {
  const { bits = format.bits, role = "codes", select } = options;
  const segment = effectiveBlockSize(format, layer.k);
  return {
    role,
    dtype: "uint8",
    shape: [layer.n, blocksPerRow(format, layer.k), blockBytes(format, layer.k, bits)],
    fill: ({ codes, rows, cols }) =>
      packCodes(select ? codes.map(select) : codes, rows, cols, bits, segment),
  };
}

/** Scales [N, B] in the format's scale type; `shape` overrides the shape, not the order. */
export function storedScales(
  layer: Layer,
  format: WeightFormat,
  shape?: readonly number[],
): StoredTensor {
  return {
    role: "scales",
    dtype: format.scaleType,
    shape: shape ?? [layer.n, blocksPerRow(format, layer.k)],
    fill: ({ scales }) =>
      format.scaleType === "float32"
        ? bytesOf(scales)
        : bytesOf(Uint16Array.from(scales, toFloat16Bits)),
  };
}

/** Zero points packed per row, LSB first, rows padded to whole bytes: uint8 [N, ceil(B · bits / 8)]. */
export function storedZeroPoints(
  layer: Layer,
  format: WeightFormat,
  options: { bits?: number; role?: string; select?: (code: number) => number } = {},
): StoredTensor[] {
  if (format.symmetric) return [];
  const { bits = format.bits, role = "zero_points", select } = options;
  const blocks = blocksPerRow(format, layer.k);
  return [
    {
      role,
      dtype: "uint8",
      shape: [layer.n, Math.ceil((blocks * bits) / 8)],
      fill: ({ zeroPoints, rows }) => {
        const points = zeroPoints ?? new Uint8Array(rows * blocks);
        return packCodes(select ? points.map(select) : points, rows, blocks, bits, blocks);
      },
    },
  ];
}
