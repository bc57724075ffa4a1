import fc from "fast-check";
import { expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import { dequantize } from "../../src/core/quantized.ts";
import { mseSum } from "../../src/math/metrics.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { referenceRtn } from "../support/reference.ts";
import { everyFormat, normalMatrix, quantizeInput } from "./samples.ts";

const size = fc.integer({ min: 1, max: 70 });

test("min-max codes, scales and zero points equal the reference", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(6),
      size,
      fc.nat(),
      fc.constantFrom(...everyFormat),
      async (n, k, seed, format) => {
        const weight = normalMatrix(n + 1, k, seed);
        const actual = await rtn.quantize(
          quantizeInput(weight, format, undefined, { grid: "min-max" }),
        );
        const expected = referenceRtn(weight.data, n + 1, k, format);
        expect([...actual.codes]).toEqual(expected.codes);
        expect([...actual.scales]).toEqual(expected.scales);
        if (format.symmetric) expect(actual.zeroPoints).toBeUndefined();
        else expect([...(actual.zeroPoints ?? [])]).toEqual(expected.zeroPoints);
      },
    ),
    { numRuns: 200 },
  );
});

test("within the grid's range the min-max error is at most half a step", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(6),
      size,
      fc.nat(),
      fc.constantFrom(...everyFormat),
      async (n, k, seed, format) => {
        const weight = normalMatrix(n + 1, k, seed);
        const tensor = await rtn.quantize(
          quantizeInput(weight, format, undefined, { grid: "min-max" }),
        );
        const rounded = dequantize(tensor).data;
        const highest = 2 ** format.bits - 1;
        const blocks = tensor.scales.length / (n + 1);
        const blockSize = format.blockSize || k;
        for (let i = 0; i < weight.data.length; i++) {
          const block = Math.floor(i / k) * blocks + Math.floor((i % k) / blockSize);
          const scale = tensor.scales[block];
          const zero = tensor.zeroPoints?.[block] ?? 2 ** (format.bits - 1);
          const code = weight.data[i] / scale + zero;
          if (code < 0 || code > highest) continue;
          const error = Math.abs(weight.data[i] - rounded[i]);
          expect(error).toBeLessThanOrEqual((Math.abs(scale) / 2) * (1 + 1e-6));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("the mse grid is never worse than min-max over the matrix", async () => {
  for (const format of everyFormat) {
    const weight = normalMatrix(3, 100, 9);
    const error = async (grid: "mse" | "min-max") =>
      mseSum(
        weight.data,
        dequantize(await rtn.quantize(quantizeInput(weight, format, undefined, { grid }))).data,
      );
    expect(await error("mse")).toBeLessThanOrEqual(await error("min-max"));
  }
});

test("float16 scales outside float16's range saturate or vanish, but stay finite", async () => {
  const format = parseFormat("int4-b32");
  for (const magnitude of [1e9, 1e-12]) {
    const weight = normalMatrix(1, 32, 3);
    weight.data.forEach((w, i) => {
      weight.data[i] = w * magnitude;
    });
    const { data } = dequantize(await rtn.quantize(quantizeInput(weight, format, undefined)));
    expect(data.every(Number.isFinite)).toBe(true);
  }
});
