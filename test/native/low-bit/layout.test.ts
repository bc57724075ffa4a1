import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bitLayout } from "../../../native/low-bit/bit-layout.ts";
import {
  lowBitKernels,
  lowBitMatrix,
  lowBits,
  type MatrixShape,
  readCodes,
  supportsBlockSize,
} from "../../../native/low-bit/index.ts";
import { randomWeights } from "./reference.ts";

describe("the bits of a lane", () => {
  test.each(lowBits.flatMap((bits) => [8, 16].map((lane) => [bits, lane as 8 | 16] as const)))(
    "%i bits in lanes of %i: every bit of every word belongs to one bit of one code",
    (bits, lane) => {
      const { words, codes } = bitLayout(bits, lane);
      expect(codes.length * bits).toBe(words * lane);
      const used = new Set<string>();
      for (const pieces of codes) {
        const covered = pieces.flatMap((piece) =>
          Array.from({ length: piece.bits }, (_, at) => {
            used.add(`${piece.word}:${piece.from + at}`);
            expect(piece.from + at).toBeLessThan(lane);
            return piece.at + at;
          }),
        );
        expect(covered).toEqual(Array.from({ length: bits }, (_, at) => at));
      }
      expect(used.size).toBe(words * lane);
    },
  );
});

describe("packed matrices", () => {
  const shape: MatrixShape = {
    n: 20,
    k: 64,
    bits: 4,
    blockSize: 32,
    symmetric: false,
    activation: "int16",
  };
  test("wrong sizes, alignments and missing zero points are refused", () => {
    const matrix = lowBitMatrix(shape);
    const weights = randomWeights(shape);
    expect(() => matrix.pack(weights, new Uint8Array(matrix.bytes - 4))).toThrow(RangeError);
    const odd = new Uint8Array(matrix.bytes + 2).subarray(2);
    expect(() => matrix.pack(weights, odd)).toThrow(/multiple of 4/);
    const none = { ...weights, zeroPoints: undefined };
    expect(() => matrix.pack(none, new Uint8Array(matrix.bytes))).toThrow(/zero points/);
    expect(() => lowBitMatrix({ ...shape, blockSize: 24 })).toThrow(/24/);
    expect(supportsBlockSize(64, 24)).toBe(false);
    expect(supportsBlockSize(20, 24)).toBe(true);
  });

  test("packing overwrites every byte, whatever lay there", () => {
    for (const k of [64, 70, 130]) {
      for (const activation of ["int8", "int16"] as const) {
        const one = { ...shape, k, activation };
        const matrix = lowBitMatrix(one);
        const first = new Uint8Array(matrix.bytes);
        const second = new Uint8Array(matrix.bytes).fill(0xff);
        matrix.pack(randomWeights(one), first);
        matrix.pack(randomWeights(one), second);
        expect(second).toEqual(first);
      }
    }
  });

  test("3 and 5 bits take their exact share of memory in blocks of 32 and more", () => {
    for (const bits of [3, 5] as const) {
      const exact = lowBitMatrix({ ...shape, n: 32, bits, symmetric: true });
      expect(exact.bytes).toBe((32 * 64 * bits) / 8 + 32 * 2 * 4);
    }
  });
});

test("bit streams: readCodes takes out what was put in", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(2, 3, 4, 5, 6, 7, 8),
      fc.array(fc.nat(255), { maxLength: 70 }),
      fc.nat(5),
      (bits, values, from) => {
        const codes = Uint8Array.from(values, (value) => value % 2 ** bits);
        const stream = new Uint8Array(from + Math.ceil((codes.length * bits) / 8));
        codes.forEach((code, at) => {
          for (let bit = 0; bit < bits; bit++) {
            const position = at * bits + bit;
            if ((code >> bit) & 1) stream[from + (position >> 3)] |= 1 << (position & 7);
          }
        });
        const into = new Uint8Array(codes.length);
        readCodes(stream, from, bits, codes.length, into);
        expect(into).toEqual(codes);
      },
    ),
  );
});

test("kernel names are unique and follow the grammar", () => {
  const names = lowBitKernels.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  const grammar =
    /^(f32-qd(8|16)-quantize-\dc\d|(qd(8|16)|f64)-f32-q[bz]\dw-(gemv|gemm|gather)-\dx\d+c\d)-(simd128|relaxed-simd)$/;
  for (const name of names) expect(name).toMatch(grammar);
});
