import { expect, test } from "vitest";
import { blockLabels, shortNames } from "../../src/report/page/names.ts";
import { byteSize, duration, significant, times } from "../../src/report/page/numbers.ts";

test("names lose what they share, and stay different", () => {
  expect(
    shortNames(["/model/embed/Gather", "/model/layers.0/q/MatMul", "/model/layers.0/k/MatMul"]),
  ).toEqual(["embed", "layers.0/q", "layers.0/k"]);
  expect(shortNames(["/a/MatMul", "/a/MatMul_1"])).toEqual(["MatMul", "MatMul_1"]);
  expect(shortNames(["p2o.Conv.1", "p2o.Conv.2"])).toEqual(["1", "2"]);
  expect(shortNames(["/only/MatMul"])).toEqual(["only"]);
  const long = Array.from({ length: 20 }, (_, i) => `/x/${"very_long_part_".repeat(6)}${i}/MatMul`);
  const short = shortNames(long);
  expect(Math.max(...short.map(({ length }) => length))).toBeLessThanOrEqual(38);
  expect(new Set(short).size).toBe(20);
});

test("blocks are numbers of what they share, or names", () => {
  expect(blockLabels(["block 0", "block 1"])).toEqual({ hasNumbers: true, labels: ["0", "1"] });
  expect(blockLabels(["/m/layers.3", "/m/layers.4"])).toEqual({
    hasNumbers: true,
    labels: ["3", "4"],
  });
  expect(blockLabels(["encoder", "decoder"])).toEqual({
    hasNumbers: false,
    labels: ["encoder", "decoder"],
  });
});

test("numbers are short and say their unit", () => {
  expect([999, 1000, 639_275, 4_594_851].map(byteSize)).toEqual([
    "999 bytes",
    "1.0 kB",
    "639.3 kB",
    "4.6 MB",
  ]);
  expect([0, 0.0123456, 1.23e-5, -2e-7, 123_456].map((value) => significant(value))).toEqual([
    "0",
    "0.0123",
    "1.2\u00a0×\u00a010⁻⁵",
    "−2.0\u00a0×\u00a010⁻⁷",
    "123,000",
  ]);
  expect([12, 3800, 59_960, 125_000, 3_780_000].map(duration)).toEqual([
    "12 ms",
    "3.8 s",
    "1 min 0 s",
    "2 min 5 s",
    "1 h 3 min",
  ]);
  expect([0.001, 0.62, 1.04, 2.94, 45, 1e6].map(times)).toEqual([
    "under 0.01",
    "0.62",
    "1.04",
    "2.9",
    "45",
    "over 100",
  ]);
});
