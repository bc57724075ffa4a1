import { describe, expect, test } from "vitest";
import { type AllocatorName, allocateBits } from "../../src/allocate/index.ts";
import type { Allocator } from "../../src/core/method.ts";
import { layerOf } from "../support/reference-allocation.ts";

const rows = [
  ["int2-b128", 1_700_000, 2],
  ["int4-b128", 3_400_000, 1],
] as const;
const layers = [
  layerOf("a", rows, { weights: 4_000_000 }),
  layerOf("b", rows, { weights: 4_000_000 }),
];

const own = (allocate: Allocator["allocate"]): Allocator => ({
  summary: "s",
  source: "s",
  needs: [],
  allocate,
});

describe("allocateBits", () => {
  test("says what the smallest plan is when the budget is below it", async () => {
    await expect(
      allocateBits({ layers, budgetBytes: 3_000_000, allocator: "knapsack" }),
    ).rejects.toMatchObject({
      code: "infeasible-budget",
      message:
        "Budget 3.0 MB (3.00 bpw) is below the smallest plan 3.4 MB (all 2 layers at int2-b128). Raise --budget to at least 3.40bpw or allow smaller formats with --formats.",
      detail: { budgetBytes: 3_000_000, minBytes: 3_400_000, maxBytes: 6_800_000 },
    });
  });

  test("advises a budget that is enough, and tells close sizes apart", async () => {
    const odd = [layerOf("a", [["int2-b32", 1_700_001, 1]], { weights: 4_000_000 }), layers[1]];
    await expect(
      allocateBits({ layers: odd, budgetBytes: 3_400_000, allocator: "uniform" }),
    ).rejects.toThrow(
      "Budget 3400000 B (3.40 bpw) is below the smallest plan 3400001 B (each of the 2 layers at its smallest format). Raise --budget to at least 3.41bpw",
    );
  });

  test.each([
    [
      { budgetBytes: Number.NaN },
      "bad-option",
      /budget must be a number of bytes, zero or above, got NaN/,
    ],
    [{ budgetBytes: -1 }, "bad-option", /zero or above, got -1/],
    [
      { allocator: "toString" as AllocatorName },
      "bad-option",
      /Unknown allocator "toString": expected uniform, ranked, knapsack/,
    ],
    [{ layers: [layers[0], layers[0]] }, "bad-option", /layer "a" comes twice/],
    [{ layers: [layerOf("a", [])] }, "bad-option", /layer "a" has no format to choose from/],
    [{ layers: [layerOf("a", [rows[0], rows[0]])] }, "bad-option", /layer "a" has a format twice/],
    [
      { layers: [{ ...layers[0], layer: "z" }] },
      "bad-option",
      /layer "z" holds the score of layer "a"/,
    ],
    [
      { layers: [layerOf("a", [["int2-b32", 1.5, 1]])] },
      "bad-option",
      /layer "a" has 1.5 bytes at int2-b32/,
    ],
    [
      { layers: [layerOf("a", [["int2-b32", 1, -1]])] },
      "numeric",
      /Layer "a" has the loss -1 at int2-b32/,
    ],
    [{ layers: [layerOf("a", [["int2-b32", 1, Number.NaN]])] }, "numeric", /loss NaN/],
  ])("refuses %j", async (change, code, message) => {
    const result = allocateBits({
      layers,
      budgetBytes: 5_000_000,
      allocator: "uniform",
      ...change,
    });
    await expect(result).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("takes the user's own allocator, and returns its picks in the caller's order", async () => {
    const first = own(({ layers: all }) => all.map(({ alternatives }) => alternatives[0]));
    const picks = await allocateBits({
      layers: [layers[1], layers[0]],
      budgetBytes: 5_000_000,
      allocator: first,
    });
    expect(picks).toEqual([layers[1].alternatives[0], layers[0].alternatives[0]]);
  });

  test.each([
    [own(() => []), /0 picks for 2 layers/],
    [
      own(({ layers: all }) => all.map(() => all[0].alternatives[0])),
      /pick for layer "b" is none of its alternatives/,
    ],
    [
      own(({ layers: all }) => all.map((l) => l.alternatives[1])),
      /6800000 bytes picked, over the budget of 5000000/,
    ],
  ])("checks what the user's own allocator returns", async (allocator, message) => {
    await expect(allocateBits({ layers, budgetBytes: 5_000_000, allocator })).rejects.toMatchObject(
      {
        code: "bad-option",
        message: expect.stringMatching(message),
      },
    );
  });
});
