/**
 * Convolutions of images and sequences, NC(H)W: patches of the input are packed beside the weights' rows and
 * multiplied with the tiles of the float32 product. Depthwise ones have a kernel of their own (conv-depthwise.ts), 1
 * × 1 ones are the same kernel over one long row.
 */
import { i32 } from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { packPatches, patchFields } from "./conv-patches.ts";
import { windowFields } from "./conv-window.ts";
import { edgeBytes, multiplyBlock } from "./gemm-block.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";
import { panelColumns, tileRows } from "./gemm-tile.ts";

function defineConv(isTransposed: boolean) {
  const name = isTransposed ? "transposed-conv" : "conv";
  return defineKernel({
    name: `f32-f32-f32w-${name}-${tileRows}x${panelColumns}c1-simd128`,
    isa: "simd128",
    fields: {
      x: "i32",
      weight: "i32",
      bias: "i32",
      out: "i32",
      ...windowFields,
      ...patchFields,
      groups: "i32",
      /** Output channels of a group. */
      outChannels: "i32",
      k: "i32",
      rowBlock: "i32",
      pixelBlock: "i32",
      kBlock: "i32",
      low: "f32",
      high: "f32",
    },
    item: "rowBlock output channels × pixelBlock pixels of a group; channels first, then pixels, groups, batches",
    scratchBytes: ({ k, pixelBlock }) => edgeBytes + 4 * k * pixelBlock,
    build(code) {
      const { fields } = code;
      const { channels, groups, outChannels, k, rowBlock, pixelBlock } = fields;
      const divideUp = (total: typeof k, by: typeof k) =>
        code.local("i32", i32.div_u(i32.add(total, i32.sub(by, i32.const(1))), by));
      const area = code.local("i32", i32.mul(fields.outHeight, fields.outWidth));
      const rowBlocks = divideUp(outChannels, rowBlock);
      const pixelBlocks = divideUp(area, pixelBlock);
      const patches = code.local("i32", i32.add(code.scratch, i32.const(edgeBytes)));
      const imageBytes = elementsToBytes(i32.mul(channels, i32.mul(fields.height, fields.width)));
      const packed = code.local("i32", i32.const(-1));
      const [strip, group, image, row, rows, pixel, pixels, channel, bias] = code.locals(9, "i32");
      const item = code.local("i32", code.begin);
      code.for(item, code.end, 1, () => {
        strip.set(i32.div_u(item, rowBlocks));
        // Groups lie inside batches in the input as in the items.
        image.set(i32.div_u(strip, pixelBlocks));
        group.set(i32.rem_u(image, groups));
        pixel.set(i32.mul(i32.rem_u(strip, pixelBlocks), pixelBlock));
        pixels.set(minimum(i32.sub(area, pixel), pixelBlock));
        row.set(i32.mul(i32.rem_u(item, rowBlocks), rowBlock));
        rows.set(minimum(i32.sub(outChannels, row), rowBlock));
        code.if(i32.ne(strip, packed), () => {
          packed.set(strip);
          packPatches({
            code,
            image: code.local("i32", i32.add(fields.x, i32.mul(image, imageBytes))),
            target: patches,
            pixel,
            pixels,
            k,
            isTransposed,
          });
        });
        channel.set(i32.add(i32.mul(group, outChannels), row));
        bias.set(i32.const(0));
        code.if(fields.bias, () => bias.set(i32.add(fields.bias, elementsToBytes(channel))));
        const outRow = i32.add(i32.mul(image, outChannels), row);
        multiplyBlock(code, {
          a: i32.add(fields.weight, elementsToBytes(i32.mul(channel, k))),
          b: patches,
          c: i32.add(fields.out, elementsToBytes(i32.add(i32.mul(outRow, area), pixel))),
          cStep: elementsToBytes(area),
          rows,
          columns: pixels,
          k,
          kBlock: fields.kBlock,
          columnBias: i32.const(0),
          rowBias: bias,
          rowBiasStep: i32.const(4),
          accumulate: i32.const(0),
          edge: code.scratch,
          low: fields.low,
          high: fields.high,
        });
      });
    },
  });
}

/**
 *   out[n, o, y, x] = clamp(bias[o] + Σ_{c, i, j} x[n, c, row, column] · weight[o, c, i, j], low, high)
 *   row = y · strideY + i · dilationY − padTop, column = x · strideX + j · dilationX − padLeft
 *
 * with 0 outside the image; c runs over the channels of o's group.
 *
 * Fields: pointers x, weight (packed by the plan), bias (0: none), out; the rest from `planConv`.
 * Cost: 2 · outputs · channels · kernel area; patches are packed once for 64 output channels and more.
 * Numerics: as `gemm`.
 */
export const conv = defineConv(false);

/** As `conv`, over an input with `up − 1` zeros between its elements; see `planConvTranspose`. */
export const convTransposed = defineConv(true);

export type ConvFields = typeof conv.fields;
