/**
 * Where the zero point meets the sum of activations: Σ a (c − z) = Σ a c − z Σ a over a block. The kernels start the
 * block's accumulator at the second term, which this code prepares once per call for all panels.
 */

import type { FunctionBuilder } from "../assembler/index.ts";
import { type I32, i32, type Local } from "../assembler/index.ts";

export interface OffsetOperands {
  /** Running sums of a tile, `[paddedK / 16 + 1][height]` int32. */
  readonly sums: I32;
  /** Receives int32 `[blocks][height]`: −Σ a of the block, times `factor`. */
  readonly into: I32;
  readonly blocks: I32;
  /** Rows of the tile, their bytes per running sum, and bytes between the sums at two block edges. */
  readonly height: I32;
  readonly heightBytes: Local<"i32">;
  readonly blockStride: Local<"i32">;
  /** The zero point that all blocks share, if they do. */
  readonly factor: number | undefined;
}

/** Cost: O(height · blocks). */
export function writeOffsets(code: FunctionBuilder, operands: OffsetOperands): void {
  const { blocks, height, heightBytes, blockStride, factor } = operands;
  const from = code.local("i32", operands.sums);
  const into = code.local("i32", operands.into);
  code.repeat(blocks, () => {
    code.repeat(height, () => {
      const sum = i32.sub(i32.load(from), i32.load(i32.add(from, blockStride)));
      code.do(i32.store(into, factor === undefined ? sum : i32.mul(sum, i32.const(factor))));
      code.advance(from, 4);
      code.advance(into, 4);
    });
    code.advance(from, i32.sub(blockStride, heightBytes));
  });
}
