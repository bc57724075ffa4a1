import { expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import { dequantize } from "../../src/core/quantized.ts";

test("ŵ = scale · (code − zeroPoint), block by block, ragged last block", () => {
  const cols = 18;
  const codes = Uint8Array.from({ length: 2 * cols }, (_, i) => i % 16);
  const scales = Float32Array.of(0.5, -2, 1, 0.25);
  const zeroPoints = Uint8Array.of(0, 3, 15, 8);
  const format = parseFormat("int4-b16-asym");
  const { rows, data } = dequantize({ format, rows: 2, cols, codes, scales, zeroPoints });
  expect(rows).toBe(2);
  for (let n = 0; n < 2; n++) {
    for (let k = 0; k < cols; k++) {
      const block = n * 2 + (k < 16 ? 0 : 1);
      expect(data[n * cols + k]).toBe(scales[block] * (codes[n * cols + k] - zeroPoints[block]));
    }
  }
});

test("symmetric formats centre at 2^(bits−1)", () => {
  const tensor = {
    format: parseFormat("int3-row"),
    rows: 1,
    cols: 3,
    codes: Uint8Array.of(0, 4, 7),
    scales: Float32Array.of(0.5),
    zeroPoints: undefined,
  };
  expect([...dequantize(tensor).data]).toEqual([-2, 0, 1.5]);
});
