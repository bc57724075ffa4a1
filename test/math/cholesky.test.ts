import { CholeskyDecomposition, Matrix as MlMatrix } from "ml-matrix";
import { describe, expect, test } from "vitest";
import { createRandom } from "../../src/core/random.ts";
import { choleskyInPlace, invertLowerInPlace } from "../../src/math/cholesky.ts";
import { referenceHessian, referenceProduct, transpose } from "../support/reference.ts";

function positiveDefinite(size: number, seed: number): Float64Array {
  const random = createRandom(seed);
  const tokens = 2 * size + 3;
  return referenceHessian(
    Float64Array.from({ length: tokens * size }, () => random.normal()),
    tokens,
    size,
  );
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return largest;
}

/** Around the panel width of 64 and the 2 × 4 tiles. */
const sizes = [1, 2, 3, 4, 5, 63, 64, 65, 66, 67, 70, 128, 131, 195];

describe("choleskyInPlace", () => {
  test.each(sizes)("L Lᵀ = A at size %i, zeros above the diagonal", (size) => {
    const a = positiveDefinite(size, size);
    const l = a.slice();
    expect(choleskyInPlace(l, size)).toBe(true);
    for (let i = 0; i < size; i++) {
      expect(l[i * size + i]).toBeGreaterThan(0);
      for (let j = i + 1; j < size; j++) expect(l[i * size + j]).toBe(0);
    }
    const product = referenceProduct(l, transpose(l, size, size), size, size, size);
    expect(largestDifference(product, a)).toBeLessThan(1e-12);
  });

  test("agrees with ml-matrix", () => {
    const size = 90;
    const a = positiveDefinite(size, 7);
    const rows = Array.from({ length: size }, (_, i) => [...a.slice(i * size, (i + 1) * size)]);
    const expected = new CholeskyDecomposition(
      new MlMatrix(rows),
    ).lowerTriangularMatrix.to1DArray();
    choleskyInPlace(a, size);
    expect(largestDifference(a, expected)).toBeLessThan(1e-12);
  });

  test("reads the lower triangle only", () => {
    const size = 70;
    const clean = positiveDefinite(size, 3);
    const dirty = clean.slice();
    for (let i = 0; i < size; i++) dirty.fill(Number.NaN, i * size + i + 1, (i + 1) * size);
    choleskyInPlace(clean, size);
    expect(choleskyInPlace(dirty, size)).toBe(true);
    expect(dirty).toEqual(clean);
  });

  test.each([0, 40, 64, 99])("reports a bad pivot at row %i instead of throwing", (row) => {
    const size = 100;
    for (const bad of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const a = positiveDefinite(size, 5);
      a[row * size + row] = bad;
      expect(choleskyInPlace(a, size)).toBe(false);
    }
  });

  test("reports a singular matrix", () => {
    expect(choleskyInPlace(Float64Array.of(1, 1, 1, 1), 2)).toBe(false);
    expect(choleskyInPlace(new Float64Array(9), 3)).toBe(false);
  });
});

test.each(sizes)("invertLowerInPlace: L⁻¹ L = I at size %i", (size) => {
  const l = positiveDefinite(size, size + 1);
  choleskyInPlace(l, size);
  const inverse = l.slice();
  invertLowerInPlace(inverse, size);
  const product = referenceProduct(inverse, l, size, size, size);
  for (let i = 0; i < size; i++) product[i * size + i] -= 1;
  expect(largestDifference(product, new Float64Array(size * size))).toBeLessThan(1e-11);
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++) expect(inverse[i * size + j]).toBe(0);
  }
});
