import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  blocksPerRow,
  effectiveBlockSize,
  parseFormat,
  type WeightFormat,
} from "../../src/core/format.ts";
import { dequantize } from "../../src/core/quantized.ts";
import { createRandom } from "../../src/core/random.ts";
import { type Matrix, roundToFloat16 } from "../../src/core/tensor.ts";
import { hqq } from "../../src/quantize/hqq.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { referenceMinMaxGrid, referenceRound } from "../support/reference.ts";
import { everyFormat, normalMatrix, quantizeInput } from "./samples.ts";

/** Normal weights, a few of them large: what the method is made for. */
function withOutliers(rows: number, cols: number, seed: number): Matrix {
  const random = createRandom(seed);
  const weight = normalMatrix(rows, cols, seed);
  return { ...weight, data: weight.data.map((w) => (random.next() < 0.05 ? 4 * w : w)) };
}

/** Σ |w − ŵ|^(3/4) of every block. */
function objectives(weight: Matrix, rounded: Matrix, format: WeightFormat): number[] {
  const blockSize = effectiveBlockSize(format, weight.cols);
  const blocks = blocksPerRow(format, weight.cols);
  const sums = new Array<number>(weight.rows * blocks).fill(0);
  weight.data.forEach((w, i) => {
    const block = Math.floor((i % weight.cols) / blockSize);
    const at = Math.floor(i / weight.cols) * blocks + block;
    sums[at] += Math.abs(w - rounded.data[i]) ** 0.75;
  });
  return sums;
}

/** One block by the formulas, with powers as powers. */
function referenceBlock(values: readonly number[], format: WeightFormat) {
  const { bits, symmetric, scaleType } = format;
  const highest = 2 ** bits - 1;
  const rounded = (s: number) => (scaleType === "float16" ? roundToFloat16(s) : Math.fround(s));
  const start = referenceMinMaxGrid(values, format);
  let { scale, zeroPoint } = start;
  let best = { scale, zeroPoint, objective: Number.POSITIVE_INFINITY };
  if (scale === 0) return best;
  for (let step = 0, beta = 10; step <= 20; step++, beta *= 1.01) {
    const codes = values.map((w) =>
      Math.min(highest, Math.max(0, referenceRound(w / scale) + zeroPoint)),
    );
    const residuals = values.map((w, i) => w / scale - (codes[i] - zeroPoint));
    const objective = residuals.reduce((sum, r) => sum + Math.abs(r * scale) ** 0.75, 0);
    if (objective >= best.objective) break;
    best = { scale, zeroPoint, objective };
    const errors = residuals.map((r) =>
      r === 0 ? 0 : Math.sign(r) * Math.max(0, Math.abs(r) - Math.abs(r) ** -0.25 / beta),
    );
    const targets = values.map((w, i) => w / scale - errors[i]);
    if (!symmetric) {
      const mean = targets.reduce((sum, t, i) => sum + codes[i] - t, 0) / values.length;
      zeroPoint = Math.min(highest, Math.max(0, referenceRound(mean)));
    }
    const steps = codes.map((code) => code - zeroPoint);
    const norm = steps.reduce((sum, c) => sum + c * c, 0);
    if (norm > 0)
      scale = rounded((scale * targets.reduce((sum, t, i) => sum + t * steps[i], 0)) / norm);
    if (scale === 0) break;
  }
  return best;
}

describe("hqq", () => {
  test("equals its formulas, block by block", async () => {
    let agreeing = 0;
    let all = 0;
    for (const id of [
      "int2-b16",
      "int3-b32-asym",
      "int4-row",
      "int4-b32-asym-s32",
      "int6-b16-asym",
    ]) {
      const format = parseFormat(id);
      const weight = withOutliers(12, 40, id.length);
      const tensor = await hqq.quantize(
        quantizeInput(weight, format, undefined, { grid: "min-max" }),
      );
      const blockSize = effectiveBlockSize(format, weight.cols);
      const blocks = blocksPerRow(format, weight.cols);
      for (let at = 0; at < weight.rows * blocks; at++) {
        const row = Math.floor(at / blocks) * weight.cols;
        const first = (at % blocks) * blockSize;
        const end = Math.min(first + blockSize, weight.cols);
        const expected = referenceBlock([...weight.data.subarray(row + first, row + end)], format);
        all++;
        const zero = tensor.zeroPoints?.[at] ?? 2 ** (format.bits - 1);
        const near =
          Math.abs(tensor.scales[at] - expected.scale) <= 1e-6 * Math.abs(expected.scale);
        if (near && zero === expected.zeroPoint) agreeing++;
      }
    }
    // Sums in another order may round a scale, and then a whole path, to the other side.
    expect(agreeing / all).toBeGreaterThan(0.97);
  });

  test("no block has a larger objective than on the grid of rtn, min-max or searched", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...everyFormat),
        fc.constantFrom(7, 16, 40, 130),
        fc.nat(),
        async (format, cols, seed) => {
          const weight = withOutliers(3, cols, seed);
          const of = async (quantizer: typeof rtn, grid: "mse" | "min-max") => {
            const input = quantizeInput(weight, format, undefined, { grid });
            return objectives(weight, dequantize(await quantizer.quantize(input)), format);
          };
          const [minMax, fromMinMax] = [await of(rtn, "min-max"), await of(hqq, "min-max")];
          const [searched, fromBoth] = [await of(rtn, "mse"), await of(hqq, "mse")];
          for (const [i, objective] of fromMinMax.entries()) {
            // Dequantized weights are rounded to float32.
            const room = 1 + 1e-4;
            expect(objective).toBeLessThanOrEqual(minMax[i] * room);
            expect(fromBoth[i]).toBeLessThanOrEqual(Math.min(searched[i], objective) * room);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("with outliers its objective falls clearly below that of rtn", async () => {
    for (const id of ["int3-b64-asym", "int4-b64-asym", "int4-b64", "int2-b32"]) {
      const format = parseFormat(id);
      const weight = withOutliers(32, 256, 5);
      const total = async (quantizer: typeof rtn) => {
        const input = quantizeInput(weight, format, undefined, { grid: "min-max" });
        const sums = objectives(weight, dequantize(await quantizer.quantize(input)), format);
        return sums.reduce((a, b) => a + b, 0);
      };
      expect((await total(hqq)) / (await total(rtn)), id).toBeLessThan(0.97);
    }
  });

  test("rounds the target of a correction in place of the weight", async () => {
    const [weight, target] = [normalMatrix(4, 40, 1), normalMatrix(4, 40, 2)];
    const format = parseFormat("int4-b16-asym");
    const input = quantizeInput(weight, format, undefined);
    const moved = await hqq.quantize({ ...input, target });
    expect(moved).toEqual(await hqq.quantize(quantizeInput(target, format, undefined)));
  });
});
