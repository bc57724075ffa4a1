/**
 * What every registered quantizer must do. A new one is tested the moment its line in the registry exists.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { blocksPerRow, parseFormat } from "../../src/core/format.ts";
import type { Quantizer } from "../../src/core/method.ts";
import { dequantize } from "../../src/core/quantized.ts";
import { createRandom } from "../../src/core/random.ts";
import { roundScale } from "../../src/quantize/grid.ts";
import { quantizers } from "../../src/quantize/index.ts";
import { roundToGrids } from "../../src/quantize/round.ts";
import {
  correlatedHessian,
  everyFormat,
  normalMatrix,
  quantizeInput,
} from "../quantize/samples.ts";

/** Around the blocks of 16 to 256, single columns included. */
const columnCounts = [1, 2, 15, 16, 17, 40, 64, 65, 130];

const problem = fc
  .record({
    rows: fc.integer({ min: 1, max: 5 }),
    cols: fc.constantFrom(...columnCounts),
    format: fc.constantFrom(...everyFormat),
    grid: fc.constantFrom("mse" as const, "min-max" as const),
    activationOrder: fc.boolean(),
    seed: fc.nat(),
  })
  .map(({ rows, cols, format, grid, activationOrder, seed }) => ({
    weight: normalMatrix(rows, cols, seed),
    hessian: correlatedHessian(cols, seed),
    format,
    options: { grid, activationOrder },
    seed,
  }));

const registry: readonly [string, Quantizer][] = Object.entries(quantizers);

describe.each(registry)("%s", (_name, quantizer) => {
  test("describes itself", async () => {
    expect(quantizer.summary).toMatch(/^\S.*[^.]$/);
    expect(quantizer.source).not.toBe("");
  });

  test("codes, zero points and scales have the right shapes and ranges", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ weight, hessian, format, options }) => {
        const tensor = await quantizer.quantize(quantizeInput(weight, format, hessian, options));
        const highest = 2 ** format.bits - 1;
        const grids = weight.rows * blocksPerRow(format, weight.cols);
        expect(tensor).toMatchObject({ format, rows: weight.rows, cols: weight.cols });
        expect(tensor.codes.length).toBe(weight.data.length);
        expect(tensor.codes.every((code) => code <= highest)).toBe(true);
        expect(tensor.scales.length).toBe(grids);
        expect(tensor.scales.every((s) => s === roundScale(s, format.scaleType))).toBe(true);
        expect(tensor.zeroPoints?.length).toBe(format.symmetric ? undefined : grids);
        expect(tensor.zeroPoints?.every((zero) => zero <= highest) ?? true).toBe(true);
      }),
    );
  });

  test("rounding the dequantized matrix on the same grids gives the same codes", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ weight, hessian, format, options }) => {
        const tensor = await quantizer.quantize(quantizeInput(weight, format, hessian, options));
        const zeroPoints =
          tensor.zeroPoints ?? new Uint8Array(tensor.scales.length).fill(2 ** (format.bits - 1));
        const grids = { scales: tensor.scales, zeroPoints };
        expect(roundToGrids(dequantize(tensor), format, grids)).toEqual(tensor.codes);
      }),
    );
  });

  test("scaling the weights by a power of two changes only the scales", async () => {
    await fc.assert(
      fc.asyncProperty(problem, fc.integer({ min: -2, max: 6 }), async (sample, exponent) => {
        const { hessian, format, options, seed } = sample;
        // Magnitudes from 50 to 200 keep float16 scales out of the subnormals, where rounding is not relative.
        const random = createRandom(seed);
        const data = sample.weight.data.map(() => random.sign() * (50 + 150 * random.next()));
        const weight = { ...sample.weight, data };
        const scaled = { ...weight, data: data.map((w) => w * 2 ** exponent) };
        const before = await quantizer.quantize(quantizeInput(weight, format, hessian, options));
        const after = await quantizer.quantize(quantizeInput(scaled, format, hessian, options));
        expect(after.codes).toEqual(before.codes);
        expect(after.zeroPoints).toEqual(before.zeroPoints);
        expect(after.scales).toEqual(before.scales.map((s) => s * 2 ** exponent));
      }),
    );
  });

  test("same input, same output, and the input is left alone", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ weight, hessian, format, options }) => {
        const weightBefore = weight.data.slice();
        const hessianBefore = hessian.slice();
        const input = quantizeInput(weight, format, hessian, options);
        const first = await quantizer.quantize(input);
        expect(await quantizer.quantize(input)).toEqual(first);
        const copy = quantizeInput(weight, format, hessian.slice(), options);
        expect(await quantizer.quantize(copy)).toEqual(first);
        expect(weight.data).toEqual(weightBefore);
        expect(hessian).toEqual(hessianBefore);
      }),
      { numRuns: 40 },
    );
  });

  test("rows of zeros stay zeros", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ weight, hessian, format, options }) => {
        const row = weight.rows - 1;
        weight.data.fill(0, row * weight.cols);
        const tensor = await quantizer.quantize(quantizeInput(weight, format, hessian, options));
        const { data } = dequantize(tensor);
        expect(data.subarray(row * weight.cols).every((w) => w === 0)).toBe(true);
        expect(tensor.scales.subarray(row * blocksPerRow(format, weight.cols))).toEqual(
          new Float32Array(blocksPerRow(format, weight.cols)),
        );
      }),
      { numRuns: 40 },
    );
  });

  test("every format with K = 300, no multiple of any block", async () => {
    const weight = normalMatrix(2, 300, 11);
    const hessian = correlatedHessian(300, 11);
    const power = weight.data.reduce((sum, w) => sum + w * w, 0);
    for (const format of everyFormat) {
      const { data } = dequantize(await quantizer.quantize(quantizeInput(weight, format, hessian)));
      const noise = data.reduce((sum, w, i) => sum + (w - weight.data[i]) ** 2, 0);
      // At most a third of the power at 2 bits, a quarter of that for each further bit, with room for feedback.
      expect(noise / power).toBeLessThan(0.6 / 4 ** (format.bits - 2));
    }
  });

  test("a target takes the place of the weight", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ weight, hessian, format, options, seed }) => {
        const target = normalMatrix(weight.rows, weight.cols, seed + 1);
        const input = { ...quantizeInput(weight, format, hessian, options), target };
        const plain = quantizeInput(target, format, hessian, options);
        expect(await quantizer.quantize(input)).toEqual(await quantizer.quantize(plain));
      }),
      { numRuns: 40 },
    );
  });

  test.skipIf(!quantizer.takesFeed)(
    "a feed of zeros changes nothing, another one does",
    async () => {
      const weight = normalMatrix(6, 70, 3);
      const input = quantizeInput(weight, parseFormat("int3-b32"), correlatedHessian(70, 3));
      const zeros = new Float64Array(70 * 70);
      const plain = await quantizer.quantize(input);
      expect(await quantizer.quantize({ ...input, feed: zeros })).toEqual(plain);
      const feed = zeros.map((_, i) => (i % 70 > Math.floor(i / 70) ? 0.01 : 0));
      expect(await quantizer.quantize({ ...input, feed })).not.toEqual(plain);
    },
  );

  test("a matrix without rows gives an empty result", async () => {
    const weight = { rows: 0, cols: 20, data: new Float32Array(0) };
    const input = quantizeInput(weight, parseFormat("int4-b32"), correlatedHessian(20, 1));
    expect((await quantizer.quantize(input)).codes.length).toBe(0);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "a weight of %f is a numeric error that names the layer and the place",
    async (bad) => {
      const weight = normalMatrix(3, 20, 1);
      weight.data[45] = bad;
      const input = quantizeInput(weight, parseFormat("int4-b32"), correlatedHessian(20, 1));
      try {
        await quantizer.quantize(input);
        expect.unreachable();
      } catch (error) {
        expect(isBitloomError(error, "numeric")).toBe(true);
        expect(error).toMatchObject({ detail: { layer: "/model/q/MatMul" } });
        expect(String(error)).toContain("row 2, column 5");
      }
    },
  );
});
