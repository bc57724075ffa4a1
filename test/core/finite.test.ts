import fc from "fast-check";
import { expect, test } from "vitest";
import { allFinite, firstNonFinite } from "../../src/core/finite.ts";

const twin = (values: Float32Array | Float64Array) =>
  values.findIndex((value) => !Number.isFinite(value));

test("the first NaN or infinity, of any bits, wherever the array begins in its buffer", () => {
  const special = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
  const number = fc.oneof({ weight: 12, arbitrary: fc.float() }, { weight: 1, arbitrary: special });
  fc.assert(
    fc.property(fc.array(number), fc.nat(3), (numbers, offset) => {
      for (const values of [
        Float32Array.from([...Array(offset).fill(Number.NaN), ...numbers]).subarray(offset),
        Float64Array.from(numbers),
      ]) {
        expect(firstNonFinite(values)).toBe(twin(values));
        expect(allFinite(values)).toBe(twin(values) < 0);
      }
    }),
  );
});

test("the largest and the smallest numbers are finite", () => {
  expect(
    allFinite(Float64Array.of(Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, -0)),
  ).toBe(true);
  expect(allFinite(Float32Array.of(3.4028234663852886e38, 1e-45, -0))).toBe(true);
});
