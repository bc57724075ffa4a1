import { expect, test } from "vitest";
import { jsonDb } from "../../src/report/index.ts";

test("decibels in JSON: null is exact and nothing else, −999 stands for −∞, NaN is refused", () => {
  const infinity = Number.POSITIVE_INFINITY;
  expect([12.5, -3, infinity, -infinity].map(jsonDb)).toEqual([12.5, -3, null, -999]);
  expect(() => jsonDb(Number.NaN)).toThrow("NaN");
});
