import fc from "fast-check";
import { expect, test } from "vitest";
import { createRandom } from "../../src/core/random.ts";
import { product, quadraticForm } from "../../src/math/products.ts";
import {
  referenceHessian,
  referenceProduct,
  referenceQuadraticForm,
} from "../support/reference.ts";

const dimension = fc.integer({ min: 1, max: 41 });

test("product equals the triple loop", () => {
  fc.assert(
    fc.property(dimension, dimension, dimension, fc.nat(), (rows, inner, cols, seed) => {
      const random = createRandom(seed);
      const a = Float32Array.from({ length: rows * inner }, () => random.normal());
      const b = Float64Array.from({ length: inner * cols }, () => random.normal());
      const actual = product(a, b, rows, inner, cols);
      const expected = referenceProduct(a, b, rows, inner, cols);
      actual.forEach((v, i) => {
        expect(Math.abs(v - expected[i])).toBeLessThan(1e-12);
      });
    }),
  );
});

test("quadraticForm equals tr(Δ H Δᵀ)", () => {
  fc.assert(
    fc.property(dimension, dimension, fc.nat(), (rows, k, seed) => {
      const random = createRandom(seed);
      const data = Float32Array.from({ length: rows * k }, () => random.normal());
      const x = Float64Array.from({ length: 2 * k * k }, () => random.normal());
      const hessian = referenceHessian(x, 2 * k, k);
      const actual = quadraticForm({ rows, cols: k, data }, hessian);
      const expected = referenceQuadraticForm(data, hessian, rows, k);
      expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-12 * expected);
    }),
  );
});

test("shapes that disagree are a bug, not a wrong number", () => {
  expect(() => product(new Float64Array(6), new Float64Array(5), 2, 3, 2)).toThrow("bug");
  const delta = { rows: 1, cols: 3, data: new Float32Array(3) };
  expect(() => quadraticForm(delta, new Float64Array(4))).toThrow("bug");
});
