import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packCodes, unpackCodes } from "../../src/core/packing.ts";
import { createRandom } from "../../src/core/random.ts";

const everyWidth = [1, 2, 3, 4, 5, 6, 7, 8];

/** The documented layout, bit by bit. */
function referencePack(
  codes: Uint8Array,
  rows: number,
  cols: number,
  bits: number,
  segment: number,
  pad: number,
): number[] {
  const bytes: number[] = [];
  for (let r = 0; r < rows; r++) {
    for (let start = 0; start < cols; start += segment) {
      let stream = 0n;
      for (let i = 0; i < segment; i++) {
        const code = start + i < cols ? codes[r * cols + start + i] : pad;
        stream |= BigInt(code) << BigInt(i * bits);
      }
      for (let b = 0; b < Math.ceil((segment * bits) / 8); b++) {
        bytes.push(Number((stream >> BigInt(8 * b)) & 255n));
      }
    }
  }
  return bytes;
}

describe.each(everyWidth)("%i bits", (bits) => {
  test("unpack ∘ pack = identity and the layout is LSB-first, odd lengths included", () => {
    const shape = fc.record({
      rows: fc.integer({ min: 1, max: 4 }),
      cols: fc.integer({ min: 1, max: 67 }),
      segment: fc.integer({ min: 1, max: 70 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(shape, ({ rows, cols, segment, seed }) => {
        const random = createRandom(seed);
        const codes = Uint8Array.from({ length: rows * cols }, () => random.integer(2 ** bits));
        const pad = random.integer(2 ** bits);
        const packed = packCodes(codes, rows, cols, bits, segment, pad);
        expect([...packed]).toEqual(referencePack(codes, rows, cols, bits, segment, pad));
        expect(unpackCodes(packed, rows, cols, bits, segment)).toEqual(codes);
      }),
    );
  });
});

test("4 bits: the first code is the low nibble", () => {
  expect([...packCodes(Uint8Array.of(1, 2, 3, 4), 1, 4, 4, 4)]).toEqual([0x21, 0x43]);
});
