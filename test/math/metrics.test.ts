import { describe, expect, test } from "vitest";
import { cosine, mseSum, relativeError, spearman, sqnrDb } from "../../src/math/metrics.ts";

describe("error metrics", () => {
  test("mseSum sums, it does not average", () => {
    expect(mseSum([1, 2, 3], [1, 4, 0])).toBe(13);
  });

  test("sqnrDb: a tenth of the amplitude as noise is 20 dB", () => {
    expect(sqnrDb([1, -1, 2], [1.1, -1.1, 2.2])).toBeCloseTo(20, 9);
    expect(sqnrDb([0, 0], [0, 0])).toBe(Number.POSITIVE_INFINITY);
    expect(sqnrDb([0, 0], [0, 1])).toBe(Number.NEGATIVE_INFINITY);
  });

  test("relativeError is the ratio of the norms", () => {
    expect(relativeError([3, 4], [3, 4.5])).toBeCloseTo(0.1, 12);
    expect(relativeError([0], [0])).toBe(0);
    expect(relativeError([0], [1])).toBe(Number.POSITIVE_INFINITY);
  });

  test("vectors of different length are refused", () => {
    expect(() => mseSum([1], [1, 2])).toThrow("bug");
    expect(() => cosine([1], [1, 2])).toThrow("bug");
  });
});

describe("cosine", () => {
  test("parallel, opposite, orthogonal, zero", () => {
    expect(cosine([1, 2], [2, 4])).toBeCloseTo(1, 12);
    expect(cosine([1, 2], [-1, -2])).toBeCloseTo(-1, 12);
    expect(cosine([1, 0], [0, 3])).toBe(0);
    expect(cosine([0, 0], [1, 2])).toBe(0);
  });

  test("never leaves −1 .. 1 by rounding", () => {
    const v = [0.1, 0.2, 0.3, 0.7];
    expect(cosine(v, v)).toBeLessThanOrEqual(1);
  });
});

describe("spearman", () => {
  test("any monotone relation is 1, its reverse −1", () => {
    expect(spearman([1, 2, 3, 4], [1, 10, 100, 1e9])).toBeCloseTo(1, 12);
    expect(spearman([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 12);
  });

  test("classic formula 1 − 6 Σd² / (n (n² − 1)) without ties", () => {
    // Ranks 1 2 3 4 5 against 2 1 4 3 5: Σd² = 4.
    expect(spearman([10, 20, 30, 40, 50], [2, 1, 4, 3, 5])).toBeCloseTo(1 - 24 / 120, 12);
  });

  test("ties share their average rank", () => {
    // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: Pearson of the ranks = 4.5 / √(4.5 · 5).
    expect(spearman([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12);
  });

  test("a constant side or a single element gives 0", () => {
    expect(spearman([1, 1, 1], [1, 2, 3])).toBe(0);
    expect(spearman([1], [2])).toBe(0);
    expect(spearman([], [])).toBe(0);
  });
});
