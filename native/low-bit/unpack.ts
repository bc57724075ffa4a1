/**
 * Unpacks one slab of a panel for the GEMM: K up to `slabSize`, all columns, into scratch memory that stays in the
 * first-level cache while all rows pass over it.
 *
 *   codes        [half panel of 8 columns] [slabSize / codesPerLane] [2 quads] vectors
 *   scales       [half] [block] float32 × 8
 *   zero points  [half] [block] int32 × 8, only for int8 activations with zero points
 *
 * With int16 activations the zero point is subtracted here, so that the tiles need no correction. With int8 it cannot
 * be: the dot product wants unsigned codes.
 */

import type { FunctionBuilder } from "../assembler/index.ts";
import { type I32, i16x8, i32, i32x4, type Local, v128 } from "../assembler/index.ts";
import { codeExtraction } from "./codes.ts";
import { type KernelFormat, type PanelLayout, panelLayout } from "./layout.ts";
import { zeroPointVectors } from "./zero-points.ts";

/** K per slab: 16 KiB of unpacked codes leave room in a cache of 32 KiB for a tile's activations. */
export const slabSize = 1024;
/** Bytes of the scales of half a panel's slab, at the smallest block of 16; the zero points take as many. */
const halfScaleBytes = (slabSize / 16) * 32;

export interface SlabLayout {
  readonly halves: number;
  /** Byte offsets from the slab, and distances between the halves. */
  readonly codes: number;
  readonly halfBytes: number;
  readonly scales: number;
  readonly zeroPoints: number;
  readonly halfScaleBytes: number;
  readonly bytes: number;
}

export function slabLayout({ quads, arithmetic }: PanelLayout): SlabLayout {
  const halves = quads / 2;
  const halfBytes = (slabSize / arithmetic.codesPerLane) * 32;
  const scales = halves * halfBytes;
  const zeroPoints = scales + halves * halfScaleBytes;
  const bytes = zeroPoints + halves * halfScaleBytes;
  return { halves, codes: 0, halfBytes, scales, zeroPoints, halfScaleBytes, bytes };
}

/**
 * Appends the unpacking of `blocks` blocks of `block` K.
 *
 * @param from - variable at the first of them; ends behind the last.
 */
export function unpackSlab(
  code: FunctionBuilder,
  format: KernelFormat,
  operands: {
    readonly from: Local<"i32">;
    readonly slab: I32;
    readonly blocks: I32;
    readonly block: I32;
  },
): void {
  const panel = panelLayout(format);
  const { arithmetic, bitLayout, quads } = panel;
  const { from } = operands;
  const layout = slabLayout(panel);
  const isCentred = arithmetic.laneBits === 16;
  const extraction = codeExtraction(code, panel);
  const to = code.local("i32", operands.slab);
  const scaleTo = code.local("i32", i32.add(operands.slab, i32.const(layout.scales)));
  const chunks = code.local("i32", i32.div_u(operands.block, i32.const(panel.chunk)));
  const words = code.locals(bitLayout.words, "v128");
  const shared = i32x4.splat(i32.const(2 ** (format.bits - 1) * 0x00010001));
  const centres = Array.from({ length: isCentred ? quads : 0 }, () => code.local("v128", shared));
  const quadRange = Array.from({ length: quads }, (_, at) => at);
  const halfOf = (quad: number) => Math.floor(quad / 2);
  const vectorOf = (quad: number) => 16 * (quad % 2);
  code.repeat(operands.blocks, () => {
    if (!format.symmetric) {
      for (const [quad, zeroPoints] of zeroPointVectors(code, from, quads).entries()) {
        if (isCentred) {
          centres[quad].set(zeroPoints);
          centres[quad].set(v128.or(centres[quad], i32x4.shl(centres[quad], 16)));
        } else {
          const at = layout.zeroPoints - layout.scales + halfOf(quad) * halfScaleBytes;
          code.do(v128.store(scaleTo, zeroPoints, at + vectorOf(quad)));
        }
      }
      code.advance(from, panel.zeroPointBytes);
    }
    code.repeat(chunks, () => {
      for (const quad of quadRange) {
        for (const [word, local] of words.entries()) {
          local.set(v128.load(from, 16 * (quad * bitLayout.words + word)));
        }
        for (let index = 0; index < bitLayout.codes.length; index++) {
          const codes = extraction.code(index, words);
          const value = isCentred ? i16x8.sub(codes, centres[quad]) : codes;
          const at = halfOf(quad) * layout.halfBytes + 32 * index + vectorOf(quad);
          code.do(v128.store(to, value, at));
        }
      }
      code.advance(from, panel.chunkBytes);
      code.advance(to, 32 * bitLayout.codes.length);
    });
    for (const quad of quadRange) {
      const at = halfOf(quad) * halfScaleBytes + vectorOf(quad);
      code.do(v128.store(scaleTo, v128.load(from, 16 * quad), at));
    }
    code.advance(from, panel.scaleBytes);
    code.advance(scaleTo, 32);
  });
}
