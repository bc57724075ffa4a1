/**
 * Where the bits of a code lie inside a lane. Lanes are 8 or 16 bits; a word is a row of equal lanes, so one shift and
 * one mask take the same code out of all lanes at once. Widths that do not divide the lane spread over several words:
 * most codes lie whole in one word, and the bits left over in the words are put together into the last codes.
 * Invariant: `words` words hold exactly `codes.length` codes per lane and no bit is unused.
 */

/** Bits `from .. from + bits` of a lane of `word` are the bits `at .. at + bits` of the code. */
export interface BitPiece {
  readonly word: number;
  readonly from: number;
  readonly bits: number;
  readonly at: number;
}

export interface BitLayout {
  readonly words: number;
  /** For each code of a lane, in the order of K, its pieces. */
  readonly codes: readonly (readonly BitPiece[])[];
}

/**
 * The layout of codes of `bits` bits in lanes of `laneBits` bits.
 *
 *   words = bits / gcd(bits, laneBits) ;  codes = words · laneBits / bits
 *
 * 3 bits in lanes of 8: three words; codes 0-5 are the fields at bits 0 and 3 of each word; the two bits left in each
 * word make the codes 6 and 7.
 */
export function bitLayout(bits: number, laneBits: 8 | 16): BitLayout {
  const words = bits / greatestCommonDivisor(bits, laneBits);
  const count = (words * laneBits) / bits;
  const perWord = Math.floor(laneBits / bits);
  const codes: BitPiece[][] = [];
  const rest: { readonly word: number; from: number }[] = [];
  for (let word = 0; word < words; word++) {
    for (let at = 0; at < perWord; at++) codes.push([{ word, from: at * bits, bits, at: 0 }]);
    rest.push({ word, from: perWord * bits });
  }
  while (codes.length < count) {
    const pieces: BitPiece[] = [];
    for (let at = 0; at < bits; ) {
      const left = (one: { readonly from: number }) => laneBits - one.from;
      // The fullest word first: fewer pieces per code.
      const source = rest.reduce((best, one) => (left(one) > left(best) ? one : best));
      const taken = Math.min(left(source), bits - at);
      pieces.push({ word: source.word, from: source.from, bits: taken, at });
      source.from += taken;
      at += taken;
    }
    codes.push(pieces);
  }
  return { words, codes };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
