import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  budgetToBytes,
  formatBytes,
  formatBytesApart,
  parseBudget,
} from "../../src/allocate/budget.ts";

const basis = { weights: 80, floatFileBytes: 1000, overheadBytes: 100 };

describe("parseBudget", () => {
  test.each([
    ["3.5bpw", { kind: "bits-per-weight", bitsPerWeight: 3.5 }],
    [" 4 bpw ", { kind: "bits-per-weight", bitsPerWeight: 4 }],
    ["2.4MB", { kind: "file-bytes", bytes: 2_400_000 }],
    ["1.1kB", { kind: "file-bytes", bytes: 1100 }],
    ["2KB", { kind: "file-bytes", bytes: 2000 }],
    [".5GB", { kind: "file-bytes", bytes: 500_000_000 }],
    ["1KiB", { kind: "file-bytes", bytes: 1024 }],
    ["1.5MiB", { kind: "file-bytes", bytes: 1_572_864 }],
    ["2GiB", { kind: "file-bytes", bytes: 2 ** 31 }],
    ["1e3B", { kind: "file-bytes", bytes: 1000 }],
    ["25%", { kind: "file-fraction", fraction: 0.25 }],
  ])("reads %s", (text, budget) => {
    expect(parseBudget(text)).toEqual(budget);
  });

  test.each([
    ["", /number and a unit/],
    ["bpw", /number and a unit/],
    ["NaNbpw", /number and a unit/],
    ["1,5bpw", /number and a unit/],
    ["4", /unit is missing/],
    ["0bpw", /above zero/],
    ["-3bpw", /above zero/],
    ["1e999B", /above zero/],
    ["3bits", /unknown unit "bits": expected bpw/],
    ["3toString", /unknown unit/],
    ["3Mb", /unknown unit "Mb"/],
    ["120%", /at most 100%/],
    ["0.2B", /at least 1B/],
  ])("refuses %j with an example", (text, why) => {
    expect(() => parseBudget(text)).toThrow(why);
    expect(() => parseBudget(text)).toThrow(`Cannot read the budget "${text}"`);
    expect(() => parseBudget(text)).toThrow(/"3.5bpw", "2.4MB" or "25%"/);
    expect(() => parseBudget(text)).toThrow(expect.objectContaining({ code: "bad-option" }));
  });

  test("gives every decimal number of bytes exactly", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), (tenths) => {
        const text = `${Math.floor(tenths / 10)}.${tenths % 10}kB`;
        expect(parseBudget(text)).toEqual({ kind: "file-bytes", bytes: tenths * 100 });
      }),
    );
  });
});

describe("budgetToBytes", () => {
  test("counts bits per weight over the weights alone, without losing a byte to rounding", () => {
    expect(budgetToBytes({ kind: "bits-per-weight", bitsPerWeight: 4.1 }, basis)).toBe(41);
    expect(budgetToBytes({ kind: "bits-per-weight", bitsPerWeight: 4.15 }, basis)).toBe(41);
  });

  test("takes the rest of the file off budgets for the file", () => {
    expect(budgetToBytes({ kind: "file-bytes", bytes: 350 }, basis)).toBe(250);
    expect(budgetToBytes({ kind: "file-fraction", fraction: 0.25 }, basis)).toBe(150);
    expect(budgetToBytes({ kind: "file-bytes", bytes: 100 }, basis)).toBe(0);
  });

  test("says when the rest of the file alone is over the budget", () => {
    expect(() => budgetToBytes({ kind: "file-bytes", bytes: 99 }, basis)).toThrow(
      expect.objectContaining({
        code: "infeasible-budget",
        message:
          "Budget 99 B for the written file is below the 100 B that are not quantizable weights. Raise --budget, or give it in bits per weight, for example --budget 4bpw.",
        detail: { budgetBytes: 99, minBytes: 100, maxBytes: 1000 },
      }),
    );
  });
});

test("formatBytes rounds for people and keeps two sizes apart", () => {
  expect([999, 1000, 999_949, 999_950, 13_400_000, 2.5e9].map(formatBytes)).toEqual([
    "999 B",
    "1.0 kB",
    "999.9 kB",
    "1.0 MB",
    "13.4 MB",
    "2.50 GB",
  ]);
  expect(formatBytesApart(3_400_000, 3_500_000)).toEqual(["3.4 MB", "3.5 MB"]);
  expect(formatBytesApart(3_400_000, 3_400_001)).toEqual(["3400000 B", "3400001 B"]);
});
