import { describe, expect, test } from "vitest";
import {
  planSoftmax,
  planSoftmaxColumns,
  type SoftmaxName,
  softmaxColumnKernels,
  softmaxKernels,
} from "../../../native/float/softmax.ts";
import { expectClose, floats, runSplit, ulp } from "./float-cases.ts";

function reference(name: SoftmaxName, row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const total = row.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  return name === "softmax"
    ? row.map((x) => Math.exp(x - largest) / total)
    : row.map((x) => x - largest - Math.log(total));
}

const sizeOf = (shape: readonly number[]) => shape.reduce((total, size) => total * size, 1);

/** e^(t − max): the difference is rounded once, which costs |t − max| units of the exponent. */
const bound = (name: SoftmaxName, largest: number) => (want: number) =>
  name === "softmax"
    ? (6 + 2 * largest) * ulp * Math.abs(want)
    : 4 * ulp * (Math.abs(want) + 1 + largest);

describe.each(["softmax", "log-softmax"] as SoftmaxName[])("%s", (name) => {
  const isLog = name === "log-softmax";
  const title = isLog ? "4·2⁻²³·(|y| + 1 + |max|)" : "(6 + 2·|max|)·2⁻²³ relative";

  const check = (shape: readonly number[], scale: number, maskShape?: readonly number[]) => {
    const length = shape[shape.length - 1];
    const plan = planSoftmax(shape, scale, maskShape);
    if (!plan) throw new Error("no plan");
    const input = floats(sizeOf(shape), -8, 8);
    const output = new Float32Array(input.length);
    const mask = maskShape && floats(sizeOf(maskShape), -2, 2, 7);
    if (mask && length > 2) for (let at = 1; at < mask.length; at += length) mask[at] = -Infinity;
    runSplit({
      kernel: softmaxKernels[name],
      plan,
      arrays: { input, output, ...(mask && { mask }) },
      values: mask ? {} : { mask: 0 },
      outputs: ["output"],
    });
    const expected: number[] = [];
    const strides = maskStrides(shape, maskShape);
    for (let row = 0; row * length < input.length; row++) {
      const start = maskStart(shape, strides, row);
      const values = [...input.subarray(row * length, (row + 1) * length)].map((x, at) => {
        const scaled = Math.fround(x * Math.fround(scale));
        return mask ? Math.fround(scaled + mask[start + at]) : scaled;
      });
      expected.push(...reference(name, values));
    }
    expectClose(output, expected, bound(name, 10));
  };

  test(`rows: within ${title}, every length`, () => {
    for (const length of [1, 2, 3, 4, 5, 31, 64, 1001]) check([3, length], 1);
    check([7, 13], 0.125);
  });

  test(`masks of every kind: within ${title}`, () => {
    const shape = [2, 3, 5, 9];
    for (const mask of [[9], [5, 9], [1, 1, 5, 9], [2, 1, 5, 9], [2, 1, 1, 9], shape]) {
      check(shape, 0.25, mask);
    }
  });

  test("masks that no pair of counts describes have no plan", () => {
    expect(planSoftmax([2, 3, 5, 9], 1, [2, 3, 5, 1])).toBeUndefined();
    expect(planSoftmax([2, 3, 5, 9], 1, [1, 3, 1, 9])).toBeUndefined();
    expect(planSoftmax([2, 3, 5, 7, 9], 1, [1, 3, 1, 7, 9])).toBeUndefined();
  });

  test(`columns: within ${title}`, () => {
    for (const [outer, length, inner] of [
      [1, 1, 1],
      [2, 5, 3],
      [3, 7, 16],
      [2, 33, 39],
    ]) {
      const input = floats(outer * length * inner, -8, 8);
      const output = new Float32Array(input.length);
      const kernel = softmaxColumnKernels[name];
      const plan = planSoftmaxColumns(outer, length, inner);
      runSplit({ kernel, plan, arrays: { input, output }, outputs: ["output"] });
      const expected = new Float64Array(input.length);
      for (let column = 0; column < outer * inner; column++) {
        const start = Math.floor(column / inner) * length * inner + (column % inner);
        const indices = Array.from({ length }, (_, at) => start + at * inner);
        const values = reference(
          name,
          indices.map((at) => input[at]),
        );
        for (const [at, index] of indices.entries()) expected[index] = values[at];
      }
      expectClose(output, expected, bound(name, 8));
    }
  });

  test("in place; large values do not overflow; a row of −∞ gives NaN", () => {
    const input = Float32Array.of(1e30, 1e30, -1e30, -Infinity, -Infinity, -Infinity);
    const plan = planSoftmax([2, 3]);
    if (!plan) throw new Error("no plan");
    const kernel = softmaxKernels[name];
    runSplit({ kernel, plan, arrays: { input, output: input }, values: { mask: 0 }, outputs: [] });
    if (!isLog) expect([...input]).toEqual([0.5, 0.5, 0, Number.NaN, Number.NaN, Number.NaN]);
    else expect(input[0]).toBeCloseTo(-Math.LN2, 6);
    const spoilt = Float32Array.of(1, Number.NaN, 3, 1, 2, 3);
    const spread = { input: spoilt, output: spoilt };
    runSplit({ kernel, plan, arrays: spread, values: { mask: 0 }, outputs: [] });
    expect([...spoilt].map(Number.isNaN)).toEqual([true, true, true, false, false, false]);
  });
});

function maskStrides(shape: readonly number[], mask: readonly number[] = []): number[] {
  let stride = 1;
  const strides: number[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = mask[axis - shape.length + mask.length] ?? 1;
    strides.unshift(size === 1 ? 0 : stride);
    stride *= size;
  }
  return strides;
}

function maskStart(shape: readonly number[], strides: readonly number[], row: number): number {
  let rest = row;
  let start = 0;
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    start += (rest % shape[axis]) * strides[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return start;
}
