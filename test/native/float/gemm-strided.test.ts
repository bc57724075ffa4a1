import { describe, expect, test } from "vitest";
import { matmul } from "../../../native/float/gemm-strided.ts";
import {
  type MatmulOperand,
  type MatmulOptions,
  planMatmul,
} from "../../../native/float/gemm-strided-plan.ts";
import { runKernel } from "../harness.ts";
import { epsilon, expectWithin, randomFloats } from "./numbers.ts";

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** Row-major strides, or the given ones. */
const stridesOf = ({ shape, strides }: MatmulOperand): readonly number[] =>
  strides ?? shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));

/** numpy's matmul by its definition, one element at a time. */
function reference(
  left: MatmulOperand,
  right: MatmulOperand,
  shape: readonly number[],
  a: Float32Array,
  b: Float32Array,
): { readonly sum: Float64Array; readonly magnitude: Float64Array } {
  const isRow = left.shape.length === 1;
  const isColumn = right.shape.length === 1;
  const k = left.shape[left.shape.length - 1];
  const count = sizeOf(shape);
  const sum = new Float64Array(count);
  const magnitude = new Float64Array(count);
  const batchRank = shape.length - (isRow ? 0 : 1) - (isColumn ? 0 : 1);
  for (let at = 0; at < count; at += 1) {
    let rest = at;
    const index = [...shape].reverse().map((size) => {
      const digit = rest % size;
      rest = Math.floor(rest / size);
      return digit;
    });
    index.reverse();
    const batch = index.slice(0, batchRank);
    const row = isRow ? 0 : index[batchRank];
    const column = isColumn ? 0 : index[index.length - 1];
    const place = (operand: MatmulOperand, matrix: readonly number[]) => {
      const own = operand.shape.length - matrix.length;
      const digits = [
        ...batch
          .slice(batch.length - own)
          .map((digit, axis) => (operand.shape[axis] === 1 ? 0 : digit)),
        ...matrix,
      ];
      const strides = stridesOf(operand);
      return digits.reduce((total, digit, axis) => total + digit * strides[axis], 0);
    };
    for (let inner = 0; inner < k; inner += 1) {
      const product =
        a[place(left, isRow ? [inner] : [row, inner])] *
        b[place(right, isColumn ? [inner] : [inner, column])];
      sum[at] += product;
      magnitude[at] += Math.abs(product);
    }
  }
  return { sum, magnitude };
}

function multiply(
  left: MatmulOperand,
  right: MatmulOperand,
  options: MatmulOptions & { readonly misalign?: number; readonly cut?: number } = {},
) {
  const extent = (operand: MatmulOperand) =>
    stridesOf(operand).reduce((last, stride, axis) => last + stride * (operand.shape[axis] - 1), 1);
  const a = randomFloats(extent(left), 3);
  const b = randomFloats(extent(right), 4);
  const plan = planMatmul(left, right, options);
  const c = new Float32Array(sizeOf(plan.shape));
  runKernel({
    kernel: matmul,
    arrays: { a, b, c },
    values: { ...plan.values, columnBias: 0, rowBias: 0 },
    items: plan.items,
    ...(options.misalign !== undefined && { misalign: options.misalign }),
    ...(options.cut !== undefined && {
      ranges: [
        [options.cut, plan.items],
        [0, options.cut],
      ],
    }),
  });
  return {
    c,
    plan,
    k: left.shape[left.shape.length - 1],
    ...reference(left, right, plan.shape, a, b),
  };
}

function check(...operands: Parameters<typeof multiply>): readonly number[] {
  const { c, sum, magnitude, k, plan } = multiply(...operands);
  const alpha = operands[2]?.alpha ?? 1;
  expectWithin(
    c,
    sum.map((value) => alpha * value),
    (at) => (k / 2 + 4) * epsilon * magnitude[at],
  );
  return plan.shape;
}

describe("matmul of two activations: |error| ≤ (k / 2 + 4) · ε · Σ|a||b|", () => {
  test("matrices around the edges of tiles", () => {
    for (const m of [1, 3, 4, 5, 65])
      for (const n of [1, 8, 9, 65])
        for (const k of [1, 4, 6]) check({ shape: [m, k] }, { shape: [k, n] });
  });

  test("vectors on either side lose their dimension", () => {
    expect(check({ shape: [5] }, { shape: [5, 3] })).toEqual([3]);
    expect(check({ shape: [3, 5] }, { shape: [5] })).toEqual([3]);
    expect(check({ shape: [5] }, { shape: [5] })).toEqual([]);
    expect(check({ shape: [5] }, { shape: [2, 5, 3] })).toEqual([2, 3]);
    expect(check({ shape: [2, 3, 5] }, { shape: [5] })).toEqual([2, 3]);
  });

  test("batches broadcast", () => {
    expect(check({ shape: [2, 3, 4, 5] }, { shape: [2, 3, 5, 6] })).toEqual([2, 3, 4, 6]);
    expect(check({ shape: [2, 3, 4, 5] }, { shape: [5, 6] })).toEqual([2, 3, 4, 6]);
    expect(check({ shape: [2, 1, 4, 5] }, { shape: [3, 5, 6] })).toEqual([2, 3, 4, 6]);
    expect(check({ shape: [1, 3, 4, 5] }, { shape: [2, 1, 5, 6] })).toEqual([2, 3, 4, 6]);
    expect(check({ shape: [2, 1, 2, 1, 5] }, { shape: [1, 3, 1, 5, 2] })).toEqual([2, 3, 2, 1, 2]);
  });

  test("transposed and interleaved operands, alpha, misaligned by 4", () => {
    // Heads side by side: q [1, 7, 2, 6] seen as [1, 2, 7, 6], k as [1, 2, 6, 9].
    const q = { shape: [1, 2, 7, 6], strides: [84, 6, 12, 1] };
    const k = { shape: [1, 2, 6, 9], strides: [108, 6, 1, 12] };
    check(q, k, { alpha: 0.125, misalign: 4 });
    check({ shape: [9, 6], strides: [3, 40] }, { shape: [6, 10], strides: [2, 13] });
  });

  test("any split of the items gives the same bytes", () => {
    const operands = [{ shape: [2, 130, 3] }, { shape: [3, 70] }] as const;
    const whole = multiply(...operands);
    expect(whole.plan.items).toBe(2 * 3 * 2);
    for (const cut of [1, 4, 7]) expect(multiply(...operands, { cut }).c).toEqual(whole.c);
  });
});

describe("planMatmul", () => {
  test("levels that are one walk are joined", () => {
    const { values } = planMatmul({ shape: [2, 3, 4, 5, 6] }, { shape: [6, 7] });
    expect(values).toMatchObject({ middleSize: 1, innerSize: 24, aInner: 30, bInner: 0 });
  });

  test("shapes that do not multiply are refused", () => {
    expect(() => planMatmul({ shape: [2, 3] }, { shape: [4, 5] })).toThrow(/\[2,3\] · \[4,5\]/);
    expect(() => planMatmul({ shape: [2, 2, 3] }, { shape: [3, 3, 5] })).toThrow(/broadcast/);
    const a = { shape: [2, 1, 2, 1, 1, 1] };
    expect(() => planMatmul(a, { shape: [1, 2, 1, 2, 1, 1] })).toThrow(/more than 3/);
  });
});
