import fc from "fast-check";
import { CholeskyDecomposition, Matrix as MlMatrix } from "ml-matrix";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Algebra, HessianFactor } from "../../src/core/algebra.ts";
import { createRandom } from "../../src/core/random.ts";
import { nodePlatform } from "../../src/engine/platform/node.ts";
import { openAlgebra, sharedAlgebra } from "../../src/math/algebra.ts";
import {
  correlatedHessian as correlated,
  identityHessian,
  normalMatrix,
} from "../quantize/samples.ts";
import { referenceProduct, referenceQuadraticForm, transpose } from "../support/reference.ts";

let algebra: Algebra;
beforeAll(async () => {
  algebra = await openAlgebra();
});
afterAll(() => algebra.release());

const options = { damping: 0.01, activationOrder: false, layer: "l" };

/** Symmetric to the last bit. */
function correlatedHessian(size: number, seed: number, tokens?: number): Float64Array {
  const hessian = correlated(size, seed, tokens);
  return hessian.map((value, i) => {
    const [row, column] = [Math.floor(i / size), i % size];
    return row < column ? hessian[column * size + row] : value;
  });
}

function normals(length: number, seed: number): Float64Array {
  const random = createRandom(seed);
  return Float64Array.from({ length }, () => random.normal());
}

/** Largest difference, relative to the largest element. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < b.length; i++) {
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    scale = Math.max(scale, Math.abs(b[i]));
  }
  return scale === 0 ? largest : largest / scale;
}

/** R, read out by dividing the unit matrix: (R⁻¹)⁻¹ would lose digits, so R = (R Rᵀ) R⁻ᵀ. */
async function factorMatrix(factor: HessianFactor, damped: Float64Array): Promise<Float64Array> {
  return algebra.solve(factor, damped, factor.size, "Rᵀ");
}

function damped(hessian: Float64Array, size: number, damping: number): Float64Array {
  let trace = 0;
  for (let k = 0; k < size; k++) trace += hessian[k * size + k];
  return hessian.map((value, i) => {
    if (i % (size + 1) !== 0) return value;
    return (value === 0 ? 1 : value) + (damping * trace) / size;
  });
}

/** Around the panels of 4 columns, the blocks of 128, and two of these. */
const sizes = [1, 2, 3, 4, 5, 64, 127, 128, 129, 132, 257, 300];

describe("factor", () => {
  test.each(sizes)("K = %i: R Rᵀ is the damped Hessian, as ml-matrix factors it", async (size) => {
    const hessian = correlatedHessian(size, size);
    const factor = await algebra.factor(hessian, options);
    const matrix = damped(hessian, size, 0.01);
    const r = await factorMatrix(factor, matrix);
    expect(distance(referenceProduct(r, transpose(r, size, size), size, size, size), matrix)) //
      .toBeLessThan(1e-13);
    // R = J L J with L Lᵀ the factorization of the matrix with rows and columns in reverse.
    const reversed = matrix.slice().reverse();
    const lower = new CholeskyDecomposition(MlMatrix.from1DArray(size, size, [...reversed]));
    const expected = Float64Array.from(lower.lowerTriangularMatrix.to1DArray()).reverse();
    expect(distance(r, expected)).toBeLessThan(1e-11);
    expect(factor).toMatchObject({ size, damping: 0.01, raised: [], deadColumns: 0 });
    factor.release();
  });

  test("in activation order it is the factor of the permuted Hessian", async () => {
    const size = 50;
    const hessian = correlatedHessian(size, 3);
    for (let k = 0; k < size; k++) hessian[k * size + k] += 1000;
    hessian[7 * size + 7] = hessian[9 * size + 9];
    // The trace is summed in another order, so without damping.
    const undamped = { ...options, damping: 0 };
    const factor = await algebra.factor(hessian, { ...undamped, activationOrder: true });
    const order = [...(factor.order ?? [])];
    const diagonal = (k: number) => hessian[k * size + k];
    const expected = Array.from({ length: size }, (_, k) => k).sort(
      (a, b) => diagonal(b) - diagonal(a) || a - b,
    );
    expect(order).toEqual(expected);
    const permuted = Float64Array.from(hessian, (_, i) => {
      return hessian[order[Math.floor(i / size)] * size + order[i % size]];
    });
    const plain = await algebra.factor(permuted, undamped);
    const right = normals(3 * size, 1);
    expect(await algebra.solve(factor, right, 3, "R Rᵀ")).toEqual(
      await algebra.solve(plain, right, 3, "R Rᵀ"),
    );
    factor.release();
    plain.release();
  });

  test("dead columns count as 1 and touch nothing", async () => {
    const size = 9;
    const hessian = correlatedHessian(size, 3);
    for (const k of [0, 4, 8]) {
      for (let j = 0; j < size; j++) hessian[k * size + j] = hessian[j * size + k] = 0;
    }
    const factor = await algebra.factor(hessian, options);
    expect(factor.deadColumns).toBe(3);
    const r = await factorMatrix(factor, damped(hessian, size, 0.01));
    for (const k of [0, 4, 8]) {
      for (let j = 0; j < size; j++) {
        if (j !== k) expect([r[k * size + j], r[j * size + k]].map(Math.abs)).toEqual([0, 0]);
      }
    }
    factor.release();
  });

  test("a Hessian of zeros gives the unit matrix", async () => {
    const factor = await algebra.factor(new Float64Array(36), options);
    const right = normals(12, 2);
    expect(await algebra.solve(factor, right, 2, "R Rᵀ")).toEqual(right);
    factor.release();
  });

  test.each([3, 40, 200])("rank deficiency at K = %i raises the damping", async (size) => {
    const hessian = correlatedHessian(size, size, Math.max(1, Math.floor(size / 3)));
    const factor = await algebra.factor(hessian, { ...options, damping: 0 });
    expect(factor.raised[0]).toBe(1e-6);
    expect(factor.raised.at(-1)).toBe(factor.damping);
    factor.release();
    const calm = await algebra.factor(hessian, options);
    expect(calm.raised).toEqual([]);
    calm.release();
  });

  test("what no damping helps is an error that names the layer, and leaves the memory usable", async () => {
    const bad = [Float64Array.of(1, 1e9, 1e9, 1), Float64Array.of(1, Number.NaN, Number.NaN, 1)];
    const infinite = identityHessian(3).map((value) => value * Number.POSITIVE_INFINITY);
    for (const hessian of [...bad, infinite]) {
      await expect(algebra.factor(hessian, { ...options, layer: "/a/b" })).rejects.toThrow(
        /"\/a\/b" .*positive definite/,
      );
    }
    const factor = await algebra.factor(identityHessian(3), options);
    factor.release();
  });

  test("more inputs than the memory holds are refused before anything is read", async () => {
    const huge = { length: 30001 ** 2 } as Float64Array;
    await expect(algebra.factor(huge, options)).rejects.toThrow(/30001 .*at most 30000/);
  });

  test("is remembered by array, damping and order, also when asked for at once", async () => {
    const hessian = correlatedHessian(140, 4);
    const [a, b, c] = await Promise.all([
      algebra.factor(hessian, options),
      algebra.factor(hessian, options),
      algebra.factor(hessian, { ...options, damping: 1 }),
    ]);
    const right = normals(140, 1);
    const solved = await algebra.solve(a, right, 1, "R");
    a.release();
    expect(await algebra.solve(b, right, 1, "R")).toEqual(solved);
    expect(await algebra.solve(c, right, 1, "R")).not.toEqual(solved);
    await expect(algebra.solve(a, right, 1, "R")).rejects.toThrow("released");
    a.release();
    b.release();
    c.release();
  });
});

describe("product", () => {
  test.each([
    [1, 1, 1],
    [3, 5, 2],
    [4, 4, 4],
    [5, 300, 7],
    [513, 3, 5],
    [130, 129, 131],
    [5, 3, 1030],
  ])("%i × %i × %i", async (rows, inner, cols) => {
    const b = normals(inner * cols, 2);
    const exact = normals(rows * inner, 1);
    for (const a of [exact, Float32Array.from(exact)]) {
      const result = await algebra.product(a, b, rows, inner, cols);
      expect(distance(result, referenceProduct(a, b, rows, inner, cols))).toBeLessThan(1e-14);
    }
  });

  test("any shape equals the triple loop", async () => {
    const dimension = fc.integer({ min: 1, max: 41 });
    await fc.assert(
      fc.asyncProperty(dimension, dimension, dimension, fc.nat(), async (n, k, m, seed) => {
        const a = Float32Array.from(normals(n * k, seed));
        const b = normals(k * m, seed + 1);
        const actual = await algebra.product(a, b, n, k, m);
        expect(distance(actual, referenceProduct(a, b, n, k, m))).toBeLessThan(1e-13);
      }),
    );
  });

  test("empty sides", async () => {
    const none = new Float64Array(0);
    expect(await algebra.product(none, none, 0, 0, 0)).toEqual(none);
    expect(await algebra.product(none, none, 2, 0, 2)).toEqual(new Float64Array(4));
    await expect(algebra.product(none, none, 1, 1, 1)).rejects.toThrow("bug");
  });
});

describe("solve", () => {
  test.each(sizes)("K = %i: X · M gives the right side back", async (size) => {
    const rows = size === 5 ? 515 : 6;
    const hessian = correlatedHessian(size, size);
    const factor = await algebra.factor(hessian, options);
    const matrix = damped(hessian, size, 0.01);
    const r = await factorMatrix(factor, matrix);
    const right = normals(rows * size, 3);
    const plain = [
      ["R", r],
      ["Rᵀ", transpose(r, size, size)],
      ["R Rᵀ", matrix],
    ] as const;
    for (const [name, m] of plain) {
      const x = await algebra.solve(factor, right, rows, name);
      expect(distance(referenceProduct(x, m, rows, size, size), right)).toBeLessThan(1e-11);
    }
    factor.release();
  });
});

describe("quadraticForm", () => {
  test.each([
    [1, 1],
    [3, 5],
    [514, 6],
    [7, 130],
    [2, 300],
  ])("%i × %i is tr(Δ H Δᵀ)", async (rows, cols) => {
    const delta = normalMatrix(rows, cols, 1);
    const hessian = correlatedHessian(cols, 2);
    const actual = await algebra.quadraticForm(delta, hessian);
    const expected = referenceQuadraticForm(delta.data, hessian, rows, cols);
    expect(Math.abs(actual / expected - 1)).toBeLessThan(1e-12);
  });

  test("takes columns in passes", async () => {
    const cols = 1030;
    const delta = normalMatrix(3, cols, 1);
    const g = normals(cols, 2);
    const hessian = Float64Array.from(
      { length: cols * cols },
      (_, i) => g[i % cols] * g[Math.floor(i / cols)],
    );
    const actual = await algebra.quadraticForm(delta, hessian);
    const expected = referenceQuadraticForm(delta.data, hessian, 3, cols);
    expect(Math.abs(actual / expected - 1)).toBeLessThan(1e-12);
  });

  test("is 0 without rows and for no change", async () => {
    const none = { rows: 0, cols: 3, data: new Float32Array(0) };
    expect(await algebra.quadraticForm(none, identityHessian(3))).toBe(0);
    const zero = { rows: 2, cols: 3, data: new Float32Array(6) };
    expect(await algebra.quadraticForm(zero, identityHessian(3))).toBe(0);
  });
});

test("one, two and three threads give the same bytes", async () => {
  const size = 300;
  const hessian = correlatedHessian(size, 1);
  const right = normals(70 * size, 2);
  const { data, ...shape } = normalMatrix(530, size, 3);
  const results = [];
  for (const threads of [1, 2, 3]) {
    const { startThreads } = nodePlatform;
    const one = await openAlgebra({ threads, startThreads });
    expect(one.threads).toBe(threads);
    const factor = await one.factor(hessian, options);
    results.push([
      await one.solve(factor, right, 70, "R Rᵀ"),
      await one.product(right, hessian, 70, size, size),
      await one.quadraticForm({ ...shape, data }, hessian),
    ]);
    await one.release();
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test("the shared algebra is one, and single-threaded", async () => {
  const one = await sharedAlgebra();
  expect(await sharedAlgebra()).toBe(one);
  expect(one.threads).toBe(1);
});
