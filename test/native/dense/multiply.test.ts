import { describe, expect, test } from "vitest";
import { stripsOf, upperPanels } from "../../../native/dense/layout.ts";
import { type MultiplyMode, multiply, planMultiply } from "../../../native/dense/multiply.ts";
import { runKernel } from "../harness.ts";
import { chain, cutUp, inPanels, inStrips, panelLength, randomDoubles } from "./matrices.ts";

interface Case {
  readonly leftCount: number;
  readonly rightCount: number;
  readonly k: number;
  readonly mode?: MultiplyMode;
  /** A is a triangle, and the product begins at this strip of it. */
  readonly triangleFirst?: number;
  readonly misalign?: number;
  readonly piece?: number;
}

function run(one: Case) {
  const { leftCount, rightCount, k, mode = "store", triangleFirst, piece } = one;
  const isTriangle = triangleFirst !== undefined;
  const leftFirst = triangleFirst ?? 0;
  const lines = 4 * (leftFirst + leftCount);
  const left = randomDoubles(isTriangle ? panelLength(lines) : lines * k, k + leftCount);
  const right = randomDoubles(4 * rightCount * k, k + rightCount + 100);
  // Rows of C are padded by 8 float64 that stay as they are.
  const rowLength = 4 * rightCount + 8;
  const before = randomDoubles(4 * leftCount * rowLength, 7);
  const c = before.slice();
  const { items, values } = planMultiply({
    left: isTriangle ? upperPanels : stripsOf(k),
    leftFirst,
    leftCount,
    right: stripsOf(k),
    rightCount,
    k,
    c: { leftStep: 32 * rowLength, rightStep: 32, rowStep: 8 * rowLength },
    mode,
  });
  runKernel({
    kernel: multiply,
    arrays: { left, right, c },
    values,
    items,
    ...(one.misalign !== undefined && { misalign: one.misalign }),
    ...(piece !== undefined && { ranges: cutUp(items, piece) }),
  });
  const expected = before.slice();
  for (let i = 0; i < 4 * leftCount; i++) {
    const line = 4 * leftFirst + i;
    const length = isTriangle ? Math.min(k, 4 * (leftFirst + (i >> 2) + 1)) : k;
    const a = (at: number) => (isTriangle ? left[inPanels(at, line)] : inStrips(left, k, i, at));
    for (let j = 0; j < 4 * rightCount; j++) {
      const at = i * rowLength + j;
      let sum = mode === "store" ? 0 : before[at];
      for (let from = 0; from < length; from += 256) {
        const block = chain(from, Math.min(from + 256, length), (one) => {
          return a(one) * inStrips(right, k, j, one);
        });
        sum = mode === "subtract" ? sum - block : sum + block;
      }
      expected[at] = sum;
    }
  }
  return { c, expected };
}

describe("equals the plain sums in blocks of 256, bit for bit", () => {
  const cases: Case[] = [
    { leftCount: 1, rightCount: 1, k: 1 },
    { leftCount: 2, rightCount: 3, k: 255 },
    { leftCount: 3, rightCount: 2, k: 256, mode: "add" },
    { leftCount: 2, rightCount: 2, k: 257, mode: "subtract" },
    { leftCount: 16, rightCount: 32, k: 5 },
    { leftCount: 17, rightCount: 33, k: 7, mode: "add" },
    { leftCount: 15, rightCount: 31, k: 6, mode: "subtract", misalign: 8 },
    { leftCount: 33, rightCount: 65, k: 3 },
    { leftCount: 1, rightCount: 2, k: 700, mode: "subtract" },
    { leftCount: 20, rightCount: 2, k: 80, triangleFirst: 0 },
    { leftCount: 4, rightCount: 3, k: 16, triangleFirst: 4, mode: "subtract" },
    { leftCount: 70, rightCount: 1, k: 280, triangleFirst: 0, mode: "add" },
  ];
  test.each(cases)("%o", (one) => {
    const { c, expected } = run(one);
    expect(c).toEqual(expected);
  });
});

test("any split of the items gives the same bytes", () => {
  for (const one of [
    { leftCount: 33, rightCount: 70, k: 300 },
    { leftCount: 40, rightCount: 40, k: 20, mode: "subtract" },
  ] as const) {
    const whole = run(one).c;
    for (const piece of [1, 2, 5]) expect(run({ ...one, piece }).c).toEqual(whole);
  }
});

test("infinity and NaN reach the elements they take part in, and no others", () => {
  const left = new Float64Array(32).fill(1);
  const right = new Float64Array(32).fill(1);
  left[1] = Number.POSITIVE_INFINITY;
  right[4 * 5 + 2] = Number.NaN;
  const c = new Float64Array(16);
  const shape = { left: stripsOf(8), leftCount: 1, right: stripsOf(8), rightCount: 1, k: 8 };
  const plan = planMultiply({ ...shape, c: { leftStep: 128, rightStep: 128, rowStep: 32 } });
  runKernel({ kernel: multiply, arrays: { left, right, c }, ...plan });
  const infinite = Number.POSITIVE_INFINITY;
  expect([...c]).toEqual([8, infinite, 8, 8].flatMap((value) => [value, value, Number.NaN, value]));
});

test("a right side that is a triangle is refused", () => {
  const shape = { left: stripsOf(8), leftCount: 1, right: upperPanels, rightCount: 1, k: 8 };
  const c = { leftStep: 128, rightStep: 128, rowStep: 32 };
  expect(() => planMultiply({ ...shape, c })).toThrow("no triangle");
});
