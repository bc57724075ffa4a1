import { describe, expect, test } from "vitest";
import type { GemmOptions } from "../../../native/float/gemm.ts";
import { gemm, packedGemmLength, packGemm, planGemm } from "../../../native/float/gemm.ts";
import { runKernel } from "../harness.ts";
import { epsilon, expectWithin, randomFloats } from "./numbers.ts";

interface Case extends GemmOptions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly columnBias?: Float32Array;
  readonly rowBias?: Float32Array;
  readonly misalign?: number;
  readonly ranges?: readonly (readonly [number, number])[];
  /** Replaces fields of the plan. */
  readonly fields?: Readonly<Record<string, number>>;
}

/** Runs a case; gives C with `cRow` elements per row, its float64 twin and Σ|a||b|. */
function multiply(one: Case) {
  const { m, n, k, alpha = 1, cRow = n, aStrides = [k, 1], rowBiasStep = 1 } = one;
  const [low, high] = one.limits ?? [-Infinity, Infinity];
  const a = randomFloats((m - 1) * aStrides[0] + (k - 1) * aStrides[1] + 1, m + 3 * k);
  const weight = randomFloats(k * n, n + 7);
  const before = randomFloats((m - 1) * cRow + n, 11);
  const c = before.slice();
  const b = new Float32Array(packedGemmLength(n, k));
  packGemm(b, weight, n, k, [n, 1]);
  const plan = planGemm(m, n, k, one);
  runKernel({
    kernel: gemm,
    arrays: {
      a,
      b,
      c,
      ...(one.columnBias && { columnBias: one.columnBias }),
      ...(one.rowBias && { rowBias: one.rowBias }),
    },
    values: {
      ...(!one.columnBias && { columnBias: 0 }),
      ...(!one.rowBias && { rowBias: 0 }),
      ...plan.values,
      ...one.fields,
    },
    items: plan.items,
    ...(one.misalign !== undefined && { misalign: one.misalign }),
    ...(one.ranges && { ranges: one.ranges }),
  });
  const expected = Float64Array.from(before);
  const magnitude = new Float64Array(before.length);
  for (let row = 0; row < m; row += 1) {
    for (let column = 0; column < n; column += 1) {
      const at = row * cRow + column;
      let sum = one.columnBias?.[column] ?? 0;
      sum += one.rowBias?.[row * rowBiasStep] ?? 0;
      if (one.accumulate) sum += before[at];
      magnitude[at] = Math.abs(sum);
      for (let inner = 0; inner < k; inner += 1) {
        const product =
          alpha * a[row * aStrides[0] + inner * aStrides[1]] * weight[inner * n + column];
        sum += product;
        magnitude[at] += Math.abs(product);
      }
      expected[at] = Math.min(Math.max(sum, low), high);
    }
  }
  return { c, expected, magnitude, items: plan.items };
}

function check(one: Case): void {
  const { c, expected, magnitude } = multiply(one);
  expectWithin(c, expected, (at) => (one.k / 2 + 4) * epsilon * magnitude[at]);
}

describe("gemm: |error| ≤ (k / 2 + 4) · ε · Σ|a||b|", () => {
  const edges = [1, 2, 3, 4, 5, 7, 8, 9];
  test.each(edges)("m = %i, n and k around the edges of tiles", (m) => {
    for (const n of [1, 7, 8, 9, 63, 64, 65]) for (const k of [1, 3, 4, 5, 17]) check({ m, n, k });
  });

  test("several row blocks and blocks of k", () => {
    check({ m: 131, n: 70, k: 33 });
    check({ m: 9, n: 20, k: 2050 });
    check({ m: 6, n: 13, k: 21, fields: { kBlock: 5 } });
    check({ m: 11, n: 16, k: 10, fields: { kBlock: 5 }, accumulate: true });
  });

  test("biases, alpha, accumulation, limits", () => {
    const columnBias = randomFloats(13, 5);
    const rowBias = randomFloats(6, 6);
    for (const m of [1, 6]) {
      for (const fields of [{}, { kBlock: 7 }]) {
        const shape = { m, n: 13, k: 20, fields };
        check({ ...shape, columnBias });
        check({ ...shape, rowBias });
        check({ ...shape, rowBias: rowBias.subarray(0, 1), rowBiasStep: 0 });
        check({ ...shape, columnBias, rowBias, accumulate: true, alpha: -1.5, limits: [0, 2] });
      }
    }
  });

  test("transposed A, rows of C further apart: what lies between is untouched", () => {
    check({ m: 7, n: 11, k: 9, aStrides: [1, 7], cRow: 17 });
    check({ m: 70, n: 9, k: 6, aStrides: [2, 141] });
  });

  test("pointers misaligned by 4", () => {
    check({ m: 5, n: 19, k: 6, misalign: 4, columnBias: randomFloats(19, 2) });
  });

  test("weights [N, K] and [K, N] pack to the same panels", () => {
    const [n, k] = [11, 6];
    const weight = randomFloats(n * k, 4);
    const turned = weight.map((_, at) => weight[(at % n) * k + Math.floor(at / n)]);
    const [one, other] = [packedGemmLength(n, k), packedGemmLength(n, k)].map((length) =>
      new Float32Array(length).fill(7),
    );
    packGemm(one, weight, n, k, [1, k]);
    packGemm(other, turned, n, k, [n, 1]);
    expect(one).toEqual(other);
    expect([...one.slice(8 * k + 3, 8 * k + 8)]).toEqual([0, 0, 0, 0, 0]);
  });
});

describe("gemm: splits and numbers that are none", () => {
  test("any split of the items gives the same bytes", () => {
    const shape = { m: 70, n: 200, k: 9 };
    const whole = multiply(shape);
    expect(whole.items).toBeGreaterThan(6);
    const split = multiply({
      ...shape,
      ranges: [
        [5, whole.items],
        [0, 1],
        [1, 5],
      ],
    });
    expect(new Uint8Array(split.c.buffer)).toEqual(new Uint8Array(whole.c.buffer));
  });

  test("NaN and infinities of a row stay in the row, and pass the limits", () => {
    const a = Float32Array.of(1, Number.NaN, 1, Number.POSITIVE_INFINITY, 2, 3);
    const b = new Float32Array(packedGemmLength(1, 2));
    packGemm(b, Float32Array.of(1, 1), 1, 2, [1, 1]);
    const c = new Float32Array(3);
    const { items, values } = planGemm(3, 1, 2, { limits: [0, 100] });
    runKernel({
      kernel: gemm,
      arrays: { a, b, c },
      values: { ...values, columnBias: 0, rowBias: 0 },
      items,
    });
    expect([...c]).toEqual([Number.NaN, 100, 5]);
  });
});
