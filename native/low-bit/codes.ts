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
  /** Code number `index` of every lane, 0 .. 2^bits − 1, from the vectors of one quad; 2^bits times that if raised. */
  code(index: number, words: readonly V128[]): V128;
  /** True for the upper code of a pair, if pairs were asked for. */
  isRaised(index: number): boolean;
}

/**
 * Each piece is one shift and one mask. The masks live in variables set here: as constants inside a loop the
 * compiler of Node 20 makes them anew on every turn.
 *
 * @param inPairs - whole codes that are neighbours in a word are taken with one shift for both: the upper one is raised.
 */
export function codeExtraction(
  code: FunctionBuilder,
  panel: PanelLayout,
  inPairs = false,
): CodeExtraction {
  const { laneBits } = panel.arithmetic;
  const isRaised = (pieces: readonly BitPiece[]): boolean =>
    inPairs && pieces.length === 1 && (pieces[0].from / pieces[0].bits) % 2 === 1;
  const codes = panel.bitLayout.codes.map((pieces) =>
    isRaised(pieces) ? [{ ...pieces[0], at: pieces[0].bits }] : pieces,
  );
  const masks = new Map<number, Local<"v128">>();
  const maskOf = ({ bits, at }: BitPiece): number => ((1 << bits) - 1) << at;
  for (const piece of codes.flat()) {
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
      codes[index].map((piece) => extract(piece, words)).reduce((a, b) => v128.or(a, b)),
    isRaised: (index) => isRaised(panel.bitLayout.codes[index]),
  };
}

/**
 * A whole lane needs no mask, nor does the top of a lane of 16, where the shift brings zeros; it does if it is raised,
 * when what lies below comes along.
 */
const needsMask = ({ bits, from, at }: BitPiece, laneBits: number): boolean =>
  bits !== laneBits && !(laneBits === 16 && from + bits === 16 && at !== bits);

/** Bytes are shifted as 32-bit lanes: there is no byte shift on x86, and the mask cuts off what came over. */
function shiftRight(word: V128, count: number, laneBits: 8 | 16): V128 {
  const lanes = laneBits === 8 ? i32x4 : i16x8;
  if (count === 0) return word;
  return count > 0 ? lanes.shr_u(word, count) : lanes.shl(word, -count);
}
