import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { createRandom } from "../../src/core/random.ts";
import { inverseUpperFactor } from "../../src/math/inverse-factor.ts";
import { referenceHessian, referenceProduct, transpose } from "../support/reference.ts";

const layer = "/model/q/MatMul";

function randomHessian(size: number, tokens: number, seed: number): Float64Array {
  const random = createRandom(seed);
  const x = Float64Array.from({ length: tokens * size }, () => random.normal());
  return referenceHessian(x, tokens, size);
}

function meanDiagonal(hessian: Float64Array, size: number): number {
  let trace = 0;
  for (let k = 0; k < size; k++) trace += hessian[k * size + k];
  return trace / size;
}

describe("inverseUpperFactor", () => {
  test.each([1, 2, 7, 64, 65, 150])("Uᵀ U (H + λI) = I at size %i", (size) => {
    const hessian = randomHessian(size, 2 * size + 1, size);
    const before = hessian.slice();
    const { factor, damping, raised, deadColumns } = inverseUpperFactor(hessian, size, {
      damping: 0.01,
      layer,
    });
    expect(hessian).toEqual(before);
    expect({ damping, raised, deadColumns }).toEqual({ damping: 0.01, raised: [], deadColumns: 0 });
    const damped = hessian.slice();
    for (let k = 0; k < size; k++) damped[k * size + k] += 0.01 * meanDiagonal(hessian, size);
    const inverse = referenceProduct(transpose(factor, size, size), factor, size, size, size);
    const identity = referenceProduct(inverse, damped, size, size, size);
    for (let i = 0; i < size; i++) {
      expect(factor[i * size + i]).toBeGreaterThan(0);
      for (let j = 0; j < size; j++) {
        expect(identity[i * size + j]).toBeCloseTo(i === j ? 1 : 0, 9);
        if (j < i) expect(factor[i * size + j]).toBe(0);
      }
    }
  });

  test("an order permutes rows and columns before factoring", () => {
    const size = 9;
    const hessian = randomHessian(size, 30, 4);
    const order = Int32Array.of(3, 1, 8, 0, 2, 7, 5, 4, 6);
    const permuted = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        permuted[i * size + j] = hessian[order[i] * size + order[j]];
      }
    }
    const options = { damping: 0, layer };
    const expected = inverseUpperFactor(permuted, size, options).factor;
    expect(inverseUpperFactor(hessian, size, { ...options, order }).factor).toEqual(expected);
  });

  test("dead columns keep a row that is zero beside the diagonal", () => {
    const size = 5;
    const hessian = randomHessian(size, 20, 2);
    for (let j = 0; j < size; j++) hessian[2 * size + j] = hessian[j * size + 2] = 0;
    const { factor, deadColumns } = inverseUpperFactor(hessian, size, { damping: 0.01, layer });
    expect(deadColumns).toBe(1);
    for (let j = 0; j < size; j++) {
      if (j === 2) continue;
      expect(factor[2 * size + j]).toBe(0);
      expect(factor[j * size + 2]).toBe(0);
    }
  });

  test("a Hessian of zeros gives the identity", () => {
    const { factor, deadColumns } = inverseUpperFactor(new Float64Array(9), 3, {
      damping: 0.01,
      layer,
    });
    expect([...factor]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect(deadColumns).toBe(3);
  });

  test("raises λ tenfold until the matrix can be factored, and says so", () => {
    // Eigenvalues 3 and −1, mean diagonal 1: positive definite from λ > 1 on.
    const hessian = Float64Array.of(1, 2, 2, 1);
    const result = inverseUpperFactor(hessian, 2, { damping: 0.01, layer });
    expect(result.raised.map((d) => Number(d.toPrecision(6)))).toEqual([0.1, 1, 10]);
    expect(result.damping).toBe(result.raised.at(-1));
  });

  test("starts raising at 1e-6 when no damping was asked for", () => {
    const result = inverseUpperFactor(Float64Array.of(1, 1, 1, 1), 2, { damping: 0, layer });
    expect(result.raised).toEqual([1e-6]);
  });

  test("gives up after five raises, naming the layer", () => {
    for (const hessian of [Float64Array.of(1, 1e9, 1e9, 1), Float64Array.of(1, 0, 0, Number.NaN)]) {
      try {
        inverseUpperFactor(hessian, 2, { damping: 0.01, layer });
        expect.unreachable();
      } catch (error) {
        expect(isBitloomError(error, "numeric")).toBe(true);
        expect(error).toMatchObject({ detail: { layer, step: "hessian-factor" } });
      }
    }
  });
});
