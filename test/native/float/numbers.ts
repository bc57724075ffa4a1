/**
 * Deterministic numbers for the tests of the float kernels, and the bounds that they are held to.
 */
import { expect } from "vitest";

/** Float32 machine epsilon: the distance from 1 to the next number. */
export const epsilon = 2 ** -23;

/** `count` numbers in −1 .. 1 from a seed. */
export function randomFloats(count: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 12345;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * (state & 64 ? 1 : 0.1);
  });
}

/** Every element within its own bound; NaN must meet NaN. */
export function expectWithin(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (index: number) => number,
): void {
  expect(actual.length).toBe(expected.length);
  for (let index = 0; index < expected.length; index += 1) {
    const difference = Math.abs(actual[index] - expected[index]);
    const isFine =
      Object.is(actual[index], expected[index]) ||
      (Number.isNaN(actual[index]) && Number.isNaN(expected[index])) ||
      actual[index] === expected[index] ||
      difference <= bound(index);
    if (!isFine) {
      expect.fail(
        `element ${index}: ${actual[index]} instead of ${expected[index]}, bound ${bound(index)}`,
      );
    }
  }
}
