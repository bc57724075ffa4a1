/**
 * The stored tensors that several forms share: packed codes, scales, zero points.
 */
import { invariant } from "../core/errors.ts";
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import { packCodes } from "../core/packing.ts";
import { bytesOf, toFloat16Bits } from "../core/tensor.ts";
import type { StoredTensor } from "./form.ts";
import { codesPerGroup } from "./packed-functions.ts";

/**
 * Codes in one block's bitstream: the block, or the whole row rounded up to a multiple of 8, so that a stream ends at
 * a byte at every width. Blocks of 16 and more always do.
 */
function codesPerStream(format: WeightFormat, k: number): number {
  return Math.ceil(effectiveBlockSize(format, k) / codesPerGroup) * codesPerGroup;
}

/** Codes in the streams of one row, with the padding of a ragged last block: ≥ K. */
export function columnsStored({ k }: Layer, format: WeightFormat): number {
  return blocksPerRow(format, k) * codesPerStream(format, k);
}

/**
 * Codes as uint8 [N, B, bytes], one LSB-first bitstream per block.
 *
 * @param bits - width that is stored; `select` takes these bits out of the code (all of it by default).
 */
export function storedCodes(
  layer: Layer,
  format: WeightFormat,
  options: { bits?: number; role?: string; select?: (code: number) => number } = {},
): StoredTensor {
  const { bits = format.bits, role = "codes", select } = options;
  const segment = codesPerStream(format, layer.k);
  return {
    role,
    dtype: "uint8",
    shape: [layer.n, blocksPerRow(format, layer.k), (segment * bits) / 8],
    fill: async (weight) => {
      const { codes, rows, cols } = await weight.quantized();
      return packCodes(select ? codes.map(select) : codes, rows, cols, bits, segment);
    },
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
    fill: async (weight) => {
      const { scales } = await weight.quantized();
      const isWide = format.scaleType === "float32";
      return bytesOf(isWide ? scales : Uint16Array.from(scales, toFloat16Bits));
    },
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
      fill: async (weight) => {
        const { zeroPoints, rows } = await weight.quantized();
        invariant(zeroPoints, `${format.id} has no zero points`);
        return packCodes(select ? zeroPoints.map(select) : zeroPoints, rows, blocks, bits, blocks);
      },
    },
  ];
}
