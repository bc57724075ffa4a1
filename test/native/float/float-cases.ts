/**
 * What the tests of the float kernels share: values that reach every corner, bounds, ways to run a range.
 */
import { expect } from "vitest";
import type { Fields, FieldValues, Kernel } from "../../../native/kernel.ts";
import { runKernel } from "../harness.ts";

/** Units of float32 relative error. */
export const ulp = 2 ** -23;

/** A deterministic generator of numbers in 0 .. 1. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** `count` float32 numbers between two bounds. */
export function floats(count: number, low = -4, high = 4, seed = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => low + (high - low) * next());
}

/** Values at the edges of float32. */
export const edgeValues = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  2 ** -130,
  88.7,
  -88.7,
  -103,
  -104.5,
  3.9,
  9,
  1e10,
  -1e10,
  3e38,
  -3e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];

type ArrayOf<F extends Fields> = NonNullable<
  Parameters<typeof runKernel<F>>[0]["arrays"][keyof F & string]
>;

export interface Call<F extends Fields> {
  readonly kernel: Kernel<F>;
  readonly plan: { readonly items: number; readonly values: Partial<FieldValues<F>> };
  readonly arrays: Partial<Record<keyof F & string, ArrayOf<F>>>;
  readonly values?: Partial<Record<keyof F & string, number>>;
  /** The arrays that the kernel writes. */
  readonly outputs: readonly (keyof F & string)[];
  /** Bytes that every element size divides. */
  readonly misalign?: number;
}

/** Runs all items at once, then in uneven ranges in reverse order: the bytes must be the same. */
export function runSplit<F extends Fields>(call: Call<F>): void {
  const { kernel, plan, outputs, misalign = 4 } = call;
  const values = { ...plan.values, ...call.values } as Partial<Record<keyof F & string, number>>;
  const fresh = Object.fromEntries(
    Object.entries<ArrayOf<F> | undefined>(call.arrays).map(([name, array]) => [
      name,
      array?.slice(),
    ]),
  ) as typeof call.arrays;
  const { items } = plan;
  runKernel({ kernel, arrays: call.arrays, values, items, misalign });
  const cuts = [...new Set([0, Math.floor(items / 3), Math.ceil((items * 2) / 3), items])];
  const ranges = cuts.slice(1).map((end, at): [number, number] => [cuts[at], end]);
  ranges.reverse();
  runKernel({ kernel, arrays: fresh, values, items, ranges });
  for (const name of outputs) expect(rawBytes(fresh[name])).toEqual(rawBytes(call.arrays[name]));
}

function rawBytes(
  array: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number } | undefined,
) {
  if (!array) throw new Error("an output is missing");
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * Every element within `bound(expected, index)` of the expected one; NaN, ±∞ where expected. A result beyond
 * float32 is ∞.
 */
export function expectClose(
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (expected: number, index: number) => number,
): void {
  expect(got.length).toBe(expected.length);
  for (let index = 0; index < got.length; index++) {
    const want = expected[index];
    const have = got[index];
    const rounded = Math.fround(want);
    if (Object.is(have, rounded) || have === rounded) continue;
    const error = Math.abs(have - want);
    const isClose = error <= bound(want, index) + 2 ** -149;
    // At the end of the range, the error may be the step to infinity.
    const isAtEnd = Math.abs(want) > 3.4028e38 && Math.abs(have) > 3.4028e38;
    if (!isClose && !isAtEnd) {
      expect.fail(
        `element ${index}: got ${have}, want ${want}, error ${error / ulp / Math.abs(want)} ulp`,
      );
    }
  }
}

/** Within `units` · 2⁻²³ of the value. */
export const relative =
  (units: number, absolute = 0) =>
  (expected: number): number =>
    units * ulp * Math.abs(expected) + absolute;
