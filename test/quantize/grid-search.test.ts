import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { integerFormat, parseFormat, type WeightFormat } from "../../src/core/format.ts";
import { createRandom } from "../../src/core/random.ts";
import { type Grid, minMaxGrid, roundScale } from "../../src/quantize/grid.ts";
import { searchGrid } from "../support/grid-search.ts";
import { referenceCode } from "../support/reference.ts";
import { everyFormat } from "./samples.ts";

function squaredError(
  values: ArrayLike<number>,
  grid: Grid,
  bits: number,
  importance?: ArrayLike<number>,
): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const rounded = grid.scale * (referenceCode(values[i], grid, bits) - grid.zeroPoint);
    sum += (importance?.[i] ?? 1) * (values[i] - rounded) ** 2;
  }
  return sum;
}

function bothGrids(values: Float64Array, format: WeightFormat, importance?: Float64Array) {
  const plain: Grid = { scale: 0, zeroPoint: 0 };
  const searched: Grid = { scale: 0, zeroPoint: 0 };
  minMaxGrid(values, 0, values.length, format, plain);
  searchGrid(values, values.length, format, importance, searched);
  return { plain, searched };
}

/** Relative error power Σ(w − ŵ)² / Σw² over many blocks. */
function errorPower(
  bits: number,
  symmetric: boolean,
  blockSize: number,
  which: "plain" | "searched",
) {
  const random = createRandom(17);
  const format = integerFormat({ bits, blockSize, symmetric });
  let noise = 0;
  let power = 0;
  for (let b = 0; b < 2000; b++) {
    const values = Float64Array.from({ length: blockSize }, () => random.normal());
    noise += squaredError(values, bothGrids(values, format)[which], bits);
    power += values.reduce((sum, w) => sum + w * w, 0);
  }
  return noise / power;
}

describe("Gaussian weights in blocks of 32", () => {
  // Reference figures: signed rule .131/.030/.0074, with scale search .110/.026/.0066 at 2/3/4 bits.
  test.each([
    [2, 0.132, 0.11],
    [3, 0.031, 0.0267],
    [4, 0.0075, 0.0067],
  ])("int%i symmetric: error power at most %f, searched %f", (bits, plain, searched) => {
    expect(errorPower(bits, true, 32, "plain")).toBeLessThan(plain);
    expect(errorPower(bits, true, 32, "searched")).toBeLessThan(searched);
  });

  test.each([2, 3, 4, 5, 6, 8])("int%i: the search gains in both symmetries", (bits) => {
    for (const symmetric of [true, false]) {
      const plain = errorPower(bits, symmetric, 32, "plain");
      expect(errorPower(bits, symmetric, 32, "searched")).toBeLessThan(plain * 0.99);
    }
  });
});

test("never worse than min-max, with and without importance", () => {
  const block = fc.array(fc.tuple(fc.float({ min: -9, max: 9, noNaN: true }), fc.nat(5)), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(
    fc.property(block, fc.constantFrom(...everyFormat), fc.boolean(), (pairs, format, weighted) => {
      const values = Float64Array.from(pairs, ([w]) => w);
      const importance = weighted ? Float64Array.from(pairs, ([, h]) => h) : undefined;
      const { plain, searched } = bothGrids(values, format, importance);
      const before = squaredError(values, plain, format.bits, importance);
      const after = squaredError(values, searched, format.bits, importance);
      expect(after).toBeLessThanOrEqual(before * (1 + 1e-12));
      expect(searched.scale).toBe(roundScale(searched.scale, format.scaleType));
    }),
    { numRuns: 1000 },
  );
});

test("close to a dense search over scales, zero points and signs", () => {
  const random = createRandom(5);
  let found = 0;
  let best = 0;
  for (let b = 0; b < 60; b++) {
    const format = integerFormat({ bits: 2 + (b % 3), blockSize: 32, symmetric: b % 2 === 0 });
    const values = Float64Array.from({ length: 32 }, () => random.normal());
    found += squaredError(values, bothGrids(values, format).searched, format.bits);
    const largest = Math.max(...values.map(Math.abs));
    let lowest = Number.POSITIVE_INFINITY;
    const middle = 2 ** (format.bits - 1);
    for (let zeroPoint = 0; zeroPoint < 2 ** format.bits; zeroPoint++) {
      if (format.symmetric && zeroPoint !== middle) continue;
      for (let step = -200; step <= 200; step++) {
        const scale = (step / 200) * (largest / (middle - 1 || 1)) * 1.2;
        lowest = Math.min(lowest, squaredError(values, { scale, zeroPoint }, format.bits));
      }
    }
    best += lowest;
  }
  expect(found).toBeLessThan(best * 1.01);
});

test("importance moves the grid towards the columns that count", () => {
  const values = Float64Array.of(10, 1, -0.9, 0.8, -1, 0.7, 0.9, -0.8);
  const importance = Float64Array.of(0, 1, 1, 1, 1, 1, 1, 1);
  const format = parseFormat("int3-b16");
  const uniform = bothGrids(values, format).searched;
  const weighted = bothGrids(values, format, importance).searched;
  expect(squaredError(values, weighted, 3, importance)).toBeLessThan(
    squaredError(values, uniform, 3, importance) / 4,
  );
});

test("importance of exactly 1 changes nothing", () => {
  const random = createRandom(8);
  for (const format of everyFormat) {
    const values = Float64Array.from({ length: 33 }, () => random.normal());
    const { searched } = bothGrids(values, format);
    expect(bothGrids(values, format, new Float64Array(33).fill(1)).searched).toEqual(searched);
  }
});
