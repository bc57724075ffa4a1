/**
 * Takes the codes out of their words: the instructions that every kernel shares.
 */
import {
  type FunctionBuilder,
  i16x8,
  i32,
  i32x4,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import type { BitPiece } from "./bit-layout.ts";
import type { PanelLayout } from "./layout.ts";

/** Expressions for the codes of a chunk; made once per function, outside its loops. */
export interface CodeExtraction {
  /** Code number `index` of every lane, 0 .. 2^bits − 1, from the vectors of one quad. */
  code(index: number, words: readonly V128[]): V128;
}

/**
 * Each piece is one shift and one mask. The masks live in variables set here: as constants inside a loop the
 * compiler of Node 20 makes them anew on every turn.
 */
export function codeExtraction(code: FunctionBuilder, panel: PanelLayout): CodeExtraction {
  const { laneBits } = panel.arithmetic;
  const masks = new Map<number, Local<"v128">>();
  const maskOf = ({ bits, at }: BitPiece): number => ((1 << bits) - 1) << at;
  for (const piece of panel.bitLayout.codes.flat()) {
    const mask = maskOf(piece);
    if (needsMask(piece, laneBits) && !masks.has(mask)) {
      const repeated = mask * (laneBits === 8 ? 0x01010101 : 0x00010001);
      masks.set(mask, code.local("v128", i32x4.splat(i32.const(repeated))));
    }
  }
  const extract = (piece: BitPiece, words: readonly V128[]): V128 => {
    const word = words[piece.word];
    const mask = masks.get(maskOf(piece));
    if (needsMask(piece, laneBits) && mask) {
      return v128.and(shiftRight(word, piece.from - piece.at, laneBits), mask);
    }
    return shiftRight(shiftRight(word, piece.from, laneBits), -piece.at, laneBits);
  };
  return {
    code: (index, words) =>
      panel.bitLayout.codes[index]
        .map((piece) => extract(piece, words))
        .reduce((a, b) => v128.or(a, b)),
  };
}

/** A whole lane needs no mask, nor does the top of a lane of 16, where the shift brings zeros. */
const needsMask = ({ bits, from }: BitPiece, laneBits: number): boolean =>
  bits !== laneBits && !(laneBits === 16 && from + bits === 16);

/** Bytes are shifted as 32-bit lanes: there is no byte shift on x86, and the mask cuts off what came over. */
function shiftRight(word: V128, count: number, laneBits: 8 | 16): V128 {
  const lanes = laneBits === 8 ? i32x4 : i16x8;
  if (count === 0) return word;
  return count > 0 ? lanes.shr_u(word, count) : lanes.shl(word, -count);
}
