/** Confidence intervals against their formulas. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRandom } from "../../src/core/random.ts";
import {
  mapEstimate,
  meanOverWindows,
  percentileOverWindows,
} from "../../src/evaluate/intervals.ts";

const windows = fc.array(
  fc.record({
    sum: fc.double({ min: -50, max: 50, noNaN: true }),
    count: fc.integer({ min: 1, max: 9 }),
  }),
  { minLength: 2, maxLength: 30 },
);

describe("mean over windows", () => {
  test("windows of one size: mean ± 1.96 · sd / √n of the window means", () =>
    fc.assert(
      fc.property(windows, fc.integer({ min: 1, max: 9 }), (all, count) => {
        const means = all.map(({ sum }) => sum / count);
        const n = means.length;
        const mean = means.reduce((a, b) => a + b, 0) / n;
        const sd = Math.sqrt(means.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1));
        const { value, low, high } = meanOverWindows(
          all.map(({ sum }) => sum),
          all.map(() => count),
        );
        expect(value).toBeCloseTo(mean, 9);
        expect(high - value).toBeCloseTo((1.959964 * sd) / Math.sqrt(n), 9);
        expect(value - low).toBeCloseTo(high - value, 9);
      }),
    ));

  test("windows of several sizes: the ratio estimator's variance", () =>
    fc.assert(
      fc.property(windows, (all) => {
        const total = all.reduce((a, { count }) => a + count, 0);
        const ratio = all.reduce((a, { sum }) => a + sum, 0) / total;
        const n = all.length;
        const residuals = all.map(({ sum, count }) => sum - ratio * count);
        const variance = residuals.reduce((a, r) => a + r * r, 0) / (n - 1);
        const half = (1.959964 * Math.sqrt(variance / n)) / (total / n);
        const got = meanOverWindows(
          all.map(({ sum }) => sum),
          all.map(({ count }) => count),
        );
        expect(got.value).toBeCloseTo(ratio, 9);
        expect(got.high - got.value).toBeCloseTo(half, 8);
      }),
    ));

  test("covers the true mean about 95 times in 100", () => {
    const random = createRandom(5);
    let covered = 0;
    for (let trial = 0; trial < 400; trial++) {
      const counts = Array.from({ length: 40 }, () => 5 + random.integer(20));
      const sums = counts.map((count) => 3 * count + Math.sqrt(count) * random.normal());
      const { low, high } = meanOverWindows(sums, counts);
      if (low <= 3 && 3 <= high) covered++;
    }
    expect(covered / 400).toBeGreaterThan(0.91);
    expect(covered / 400).toBeLessThan(0.98);
  });

  test("one window has no interval, and nothing is NaN", () => {
    expect(meanOverWindows([6], [3])).toEqual({ value: 2, low: 2, high: 2 });
  });

  test("a monotone function maps value and bounds", () => {
    expect(mapEstimate({ value: 0, low: -1, high: 1 }, Math.exp)).toEqual({
      value: 1,
      low: Math.exp(-1),
      high: Math.E,
    });
  });
});

describe("percentile over windows", () => {
  test("is the smallest value with at least that share of all values at or below it", () =>
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 }), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.constantFrom(0.5, 0.9, 0.999, 1),
        (values, share) => {
          const all = values.flat().sort((a, b) => a - b);
          const expected = all.find(
            (value) => all.filter((other) => other <= value).length >= share * all.length - 1e-9,
          );
          const { value, low, high } = percentileOverWindows(
            values.map((window) => Float32Array.from(window)),
            share,
          );
          expect(value === expected).toBe(true);
          expect(low).toBeLessThanOrEqual(high);
          expect(all.some((v) => v === low) && all.some((v) => v === high)).toBe(true);
        },
      ),
      { numRuns: 60 },
    ));

  test("the interval is that of windows, not of tokens: equal windows leave no doubt", () => {
    const window = Float32Array.of(1, 2, 3, 4);
    expect(percentileOverWindows([window, window, window], 0.5)).toEqual({
      value: 2,
      low: 2,
      high: 2,
    });
    const mixed = percentileOverWindows(
      Array.from({ length: 30 }, (_, i) => Float32Array.of(i, i + 1)),
      0.5,
    );
    expect(mixed.low).toBeLessThan(mixed.value);
    expect(mixed.high).toBeGreaterThan(mixed.value);
  });

  test("same windows, same interval", () => {
    const values = Array.from({ length: 9 }, (_, i) => Float32Array.of(i * i, 3 * i));
    expect(percentileOverWindows(values, 0.9)).toEqual(percentileOverWindows(values, 0.9));
  });
});
