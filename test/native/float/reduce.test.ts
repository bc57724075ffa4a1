import { describe, expect, test } from "vitest";
import {
  planReduce,
  type ReduceName,
  type ReductionExtent,
  reduceKernels,
  reductionExtent,
} from "../../../native/float/reduce.ts";
import {
  type ArgumentName,
  argumentKernels,
  planArgument,
} from "../../../native/float/reduce-argument.ts";
import { expectClose, floats, runSplit } from "./float-cases.ts";

const extents: readonly ReductionExtent[] = [
  { outer: 1, reduced: 1, inner: 1 },
  { outer: 5, reduced: 3, inner: 1 },
  { outer: 4, reduced: 17, inner: 1 },
  { outer: 3, reduced: 1001, inner: 1 },
  { outer: 1, reduced: 20000, inner: 1 },
  { outer: 2, reduced: 7, inner: 3 },
  { outer: 3, reduced: 9, inner: 16 },
  { outer: 2, reduced: 5, inner: 39 },
  { outer: 2, reduced: 0, inner: 5 },
  { outer: 3, reduced: 0, inner: 1 },
  { outer: 0, reduced: 4, inner: 1 },
];

type Twin = (values: readonly number[]) => number;
const total: Twin = (values) => values.reduce((sum, x) => sum + x, 0);
const squares: Twin = (values) => values.reduce((sum, x) => sum + x * x, 0);
const sizes: Twin = (values) => values.reduce((sum, x) => sum + Math.abs(x), 0);
const twins: Readonly<Record<ReduceName, Twin>> = {
  sum: total,
  mean: (values) => total(values) / values.length,
  prod: (values) => values.reduce((product, x) => product * x, 1),
  "sum-square": squares,
  l1: sizes,
  l2: (values) => Math.sqrt(squares(values)),
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
};

/** The elements that each element of the output is made of. */
function groups(input: Float32Array, { outer, reduced, inner }: ReductionExtent): number[][] {
  return Array.from({ length: outer * inner }, (_, at) => {
    const start = Math.floor(at / inner) * reduced * inner + (at % inner);
    return Array.from({ length: reduced }, (_unused, k) => input[start + k * inner]);
  });
}

describe.each(Object.keys(reduceKernels) as ReduceName[])("reduce %s", (name) => {
  test("|error| ≤ 2⁻²⁴·|result| + n·2⁻⁵²·Σ|terms|, every extent", () => {
    for (const extent of extents) {
      const { outer, reduced, inner } = extent;
      const input = floats(outer * reduced * inner, -1.9, 2.1);
      const output = new Float32Array(outer * inner);
      const kernel = reduceKernels[name];
      runSplit({
        kernel,
        plan: planReduce(extent),
        arrays: { input, output },
        outputs: ["output"],
      });
      const values = groups(input, extent);
      expectClose(output, values.map(twins[name]), (expected, at) => {
        const scale = name === "prod" ? Math.abs(expected) : sizes(values[at]);
        return 2 ** -24 * Math.abs(expected) * 1.0001 + reduced * 2 ** -52 * scale;
      });
    }
  });

  test("NaN spreads", () => {
    const input = floats(40);
    input[37] = Number.NaN;
    const output = new Float32Array(2);
    const plan = planReduce({ outer: 2, reduced: 20, inner: 1 });
    const kernel = reduceKernels[name];
    runSplit({ kernel, plan, arrays: { input, output }, outputs: ["output"] });
    expect(output[0]).not.toBeNaN();
    expect(output[1]).toBeNaN();
    const columns = new Float32Array(8);
    const across = planReduce({ outer: 1, reduced: 5, inner: 8 });
    runSplit({ kernel, plan: across, arrays: { input, output: columns }, outputs: ["output"] });
    expect([...columns].map(Number.isNaN)).toEqual([...Array(5).fill(false), true, false, false]);
  });
});

test("float32 sums would lose this: 2²⁴ + 1000 ones", () => {
  const input = new Float32Array(1001).fill(1);
  input[0] = 2 ** 24;
  const output = new Float32Array(1);
  const plan = planReduce({ outer: 1, reduced: 1001, inner: 1 });
  runSplit({ kernel: reduceKernels.sum, plan, arrays: { input, output }, outputs: ["output"] });
  expect(output[0]).toBe(2 ** 24 + 1000);
});

describe("extents of shapes", () => {
  test("merges neighbours and skips single elements", () => {
    expect(reductionExtent([2, 3, 4], [1])).toEqual({ outer: 2, reduced: 3, inner: 4 });
    expect(reductionExtent([2, 3, 1, 4], [1, 3])).toEqual({ outer: 2, reduced: 12, inner: 1 });
    expect(reductionExtent([2, 3, 4], [])).toEqual({ outer: 1, reduced: 24, inner: 1 });
    expect(reductionExtent([2, 1], [1])).toEqual({ outer: 2, reduced: 1, inner: 1 });
    expect(reductionExtent([2, 3, 4], [0, 2])).toBeUndefined();
  });
});

describe.each(["arg-max", "arg-min"] as ArgumentName[])("%s", (name) => {
  const isBetter = (a: number, b: number) => (name === "arg-max" ? a > b : a < b);
  test.each([false, true])("exact, with equal elements; last of them: %s", (isLast) => {
    for (const extent of extents.filter(({ reduced }) => reduced > 0)) {
      const { outer, reduced, inner } = extent;
      const input = floats(outer * reduced * inner, -5, 5).map(Math.round);
      const output = new Float64Array(outer * inner);
      const plan = planArgument(extent, isLast);
      runSplit({
        kernel: argumentKernels[name],
        plan,
        arrays: { input, output },
        outputs: ["output"],
        misalign: 8,
      });
      const expected = groups(input, extent).map((values) =>
        values.reduce((best, x, at) => {
          const isEqual = x === values[best];
          return isBetter(x, values[best]) || (isLast && isEqual) ? at : best;
        }, 0),
      );
      expect([...output]).toEqual(expected);
    }
  });

  test("NaN is passed over; nothing but NaN gives 0 and reads nothing outside", () => {
    const better = name === "arg-max" ? 9 : -9;
    const cases = [
      { input: floats(9).fill(Number.NaN, 2, 5).fill(better, 5, 6), expected: 5 },
      { input: new Float32Array(9).fill(Number.NaN), expected: 0 },
    ];
    for (const { input, expected } of cases) {
      for (const isLast of [false, true]) {
        const output = new Float64Array(1).fill(5);
        const plan = planArgument({ outer: 1, reduced: 9, inner: 1 }, isLast);
        const arrays = { input, output };
        runSplit({ kernel: argumentKernels[name], plan, arrays, outputs: ["output"], misalign: 8 });
        expect(output[0]).toBe(expected);
      }
    }
  });
});
