import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import {
  encode,
  type Grid,
  minMaxGrid,
  minMaxScale,
  roundHalfEven,
  roundScale,
} from "../../src/quantize/grid.ts";
import { referenceMinMaxGrid, referenceRound } from "../support/reference.ts";
import { everyFormat } from "./samples.ts";

test("roundHalfEven is the textbook rule", () => {
  for (let x = -300; x <= 300; x += 0.125) {
    if (roundHalfEven(x) !== referenceRound(x)) expect.unreachable(`${x}`);
  }
  fc.assert(
    fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), (x) => {
      expect(roundHalfEven(x) + 0).toBe(referenceRound(x) + 0);
    }),
  );
});

describe("encode", () => {
  test("clips to the code range, whatever the size of the quotient", () => {
    expect(encode(1e38, 1e-8, 8, 15)).toBe(15);
    expect(encode(-1e38, 1e-8, 8, 15)).toBe(0);
    expect(encode(1e38, 1e-300, 8, 15)).toBe(15);
    expect(encode(3, -1, 8, 15)).toBe(5);
  });

  test("ties go to the even offset from the zero point", () => {
    expect(encode(0.5, 1, 8, 15)).toBe(8);
    expect(encode(1.5, 1, 8, 15)).toBe(10);
    expect(encode(-0.5, 1, 8, 15)).toBe(8);
  });

  test("a scale of 0 gives the zero point", () => {
    expect(encode(0, 0, 8, 15)).toBe(8);
    expect(encode(5, 0, 3, 15)).toBe(3);
  });
});

describe("roundScale", () => {
  test("float16 saturates instead of overflowing", () => {
    expect(roundScale(1e6, "float16")).toBe(65504);
    expect(roundScale(-1e6, "float16")).toBe(-65504);
    expect(roundScale(1e6, "float32")).toBe(1e6);
    expect(roundScale(0.1, "float16")).toBe(0.0999755859375);
    expect(roundScale(0.1, "float32")).toBe(Math.fround(0.1));
  });
});

describe("min-max grid", () => {
  test("symmetric: the signed extreme is code 0, exactly", () => {
    const values = Float32Array.of(0.25, -3, 2.5);
    expect(minMaxScale(values, 0, 3, 2, true)).toBe(1.5);
    expect(minMaxScale(Float32Array.of(3, -2.5), 0, 2, 2, true)).toBe(-1.5);
    expect(minMaxScale(Float32Array.of(-2, 2), 0, 2, 2, true)).toBe(1);
    expect(minMaxScale(Float32Array.of(2, -2), 0, 2, 2, true)).toBe(-1);
  });

  test("asymmetric: the range always contains zero", () => {
    expect(minMaxScale(Float32Array.of(2, 3), 0, 2, 2, false)).toBe(1);
    expect(minMaxScale(Float32Array.of(-3, -2), 0, 2, 2, false)).toBe(1);
    expect(minMaxScale(Float32Array.of(9, -1, 2, 9), 1, 2, 2, false)).toBe(1);
  });

  test("zeros: scale 0, and the zero point of the format", () => {
    const grid: Grid = { scale: 1, zeroPoint: 1 };
    minMaxGrid(new Float32Array(4), 0, 4, parseFormat("int4-b32"), grid);
    expect(grid).toEqual({ scale: 0, zeroPoint: 8 });
    minMaxGrid(new Float32Array(4), 0, 4, parseFormat("int4-b32-asym"), grid);
    expect(grid).toEqual({ scale: 0, zeroPoint: 0 });
  });

  test("equals the reference in every format", () => {
    const block = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(block, fc.constantFrom(...everyFormat), (values, format) => {
        const grid: Grid = { scale: 0, zeroPoint: 0 };
        minMaxGrid(Float32Array.from(values), 0, values.length, format, grid);
        const expected = referenceMinMaxGrid(values, format);
        expect(grid.scale + 0).toBe(expected.scale + 0);
        expect(grid.zeroPoint + 0).toBe(expected.zeroPoint);
      }),
      { numRuns: 500 },
    );
  });
});
