import { describe, expect, test } from "vitest";
import { activationLayout, rowTiles } from "../../../native/low-bit/activations.ts";
import { quantizeKernels } from "../../../native/low-bit/quantize.ts";
import { canCompile, runKernel } from "../harness.ts";
import { activationArrays, quantizeReference, randomInput } from "./reference.ts";

describe.each(["int8", "int16"] as const)("quantization to %s", (activation) => {
  const kernel = quantizeKernels[activation];
  const quantize = (
    input: Float32Array,
    m: number,
    k: number,
    options: { misalign?: number; ranges?: [number, number][] } = {},
  ) => {
    const { paddedK, spans } = activationLayout(m, k, activation);
    const { tiles, rows, tallTiles } = rowTiles(m, activation);
    const arrays = {
      codes: activation === "int8" ? new Int8Array(m * paddedK) : new Int16Array(m * paddedK),
      sums: new Int32Array(m * (paddedK / 16 + 1)),
      scales: new Float32Array(m * spans),
    };
    runKernel({
      kernel,
      arrays: { input: input.slice(), ...arrays },
      values: { k, spans, rows, tallTiles },
      items: tiles,
      ...options,
    });
    return arrays;
  };
  test("the kernel needs nothing relaxed", () => expect(canCompile(kernel)).toBe(true));

  test.each([1, 31, 32, 33, 100, 127, 128, 129, 300])(
    "codes, running sums and scales are exact for K = %i and 1 to 13 rows",
    (k) => {
      for (let m = 1; m <= 13; m++) {
        const input = randomInput(m, k, m * 1000 + k);
        const expected = activationArrays(quantizeReference(input, m, k, activation));
        expect(quantize(input, m, k)).toEqual(expected);
        expect(quantize(input, m, k, { misalign: 4 })).toEqual(expected);
      }
    },
  );

  test("split ranges give the same bytes", () => {
    const input = randomInput(29, 200);
    const { tiles } = rowTiles(29, activation);
    const ranges: [number, number][] = [
      [2, tiles],
      [0, 1],
      [1, 2],
    ];
    expect(quantize(input, 29, 200, { ranges })).toEqual(quantize(input, 29, 200));
  });

  test("zeros and values below 1e-30 give codes and scales of zero", () => {
    const { codes, scales } = quantize(new Float32Array(256).fill(1e-31), 1, 256);
    expect(codes.every((code) => code === 0)).toBe(true);
    expect([...scales]).toEqual([0, 0]);
  });

  test("an infinity or NaN makes the scale of its span, and only its, infinite or NaN", () => {
    const input = randomInput(2, 256);
    input[5] = Number.POSITIVE_INFINITY;
    input[256 + 130] = Number.NaN;
    const { scales } = quantize(input, 2, 256);
    expect([scales[0], scales[3]]).toEqual([Number.POSITIVE_INFINITY, Number.NaN]);
    expect(Number.isFinite(scales[1]) && Number.isFinite(scales[2])).toBe(true);
  });

  test("outliers cost only their span its resolution", () => {
    const input = randomInput(1, 512);
    input[3] = 300;
    const { codes, scales } = quantizeReference(input, 1, 512, activation);
    const error = (from: number) =>
      Math.max(
        ...Array.from({ length: 127 }, (_, i) =>
          Math.abs(input[from + i] - scales[0][from >> 7] * codes[0][from + i]),
        ),
      );
    expect(error(128)).toBeLessThan(error(4) / 50);
  });
});

test("tiles differ by one row at most and cover all rows", () => {
  for (const activation of ["int8", "int16"] as const) {
    for (let m = 1; m < 200; m++) {
      const { tiles, rows, tallTiles } = rowTiles(m, activation);
      expect(tiles * rows + tallTiles).toBe(m);
      expect(tallTiles).toBeLessThan(tiles);
      expect(rows + (tallTiles > 0 ? 1 : 0)).toBeLessThanOrEqual(activation === "int8" ? 6 : 4);
    }
  }
});
