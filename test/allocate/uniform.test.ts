import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bestUniformPlan,
  nearestAlternative,
  uniform,
  uniformPlans,
} from "../../src/allocate/uniform.ts";
import { parseFormat } from "../../src/core/format.ts";
import { layerOf, layersArbitrary } from "../support/reference-allocation.ts";

describe("nearestAlternative", () => {
  const layer = layerOf("l", [
    ["int3-b64", 33, 5],
    ["int3-b32", 35, 4],
    ["int8-b64", 82, 1],
    ["int8-b32", 85, 0.5],
  ]);
  test.each([
    ["int3-b64", "int3-b64"],
    ["int3-b128", "int3-b32"],
    ["int2-b32", "int3-b64"],
    ["int4-b32", "int8-b64"],
    ["float16", "int8-b32"],
  ])("%s is stood in for by %s", (base, expected) => {
    expect(nearestAlternative(layer, parseFormat(base)).format.id).toBe(expected);
  });
});

const free = [
  ["int2-b32", 20, 3],
  ["int4-b32", 40, 2],
  ["int8-b32", 80, 1],
] as const;

test("uniformPlans: pinned layers keep their format and suggest none", () => {
  const plans = uniformPlans([layerOf("a", free), layerOf("pinned", [["float32", 320, 0]])]);
  expect(plans.map(({ format, bytes, loss }) => [format.id, bytes, loss])).toEqual([
    ["int2-b32", 340, 3],
    ["int4-b32", 360, 2],
    ["int8-b32", 400, 1],
  ]);
});

test("uniformPlans: with every layer pinned the pins are the plan", () => {
  const plans = uniformPlans([
    layerOf("a", [["int4-b32", 4, 1]]),
    layerOf("b", [["int8-b32", 8, 1]]),
  ]);
  expect(plans.map(({ bytes }) => bytes)).toEqual([12, 12]);
});

test("bestUniformPlan has the lowest loss of those that fit, which is not always the largest", () => {
  const layers = [layerOf("a", [...free, ["int4-b64", 38, 1.5]])];
  expect(bestUniformPlan(layers, 79)?.format.id).toBe("int4-b64");
  expect(bestUniformPlan(layers, 80)?.format.id).toBe("int8-b32");
  expect(bestUniformPlan(layers, 19)).toBeUndefined();
});

test("where every layer offers a format, its plan is that format everywhere", () => {
  fc.assert(
    fc.property(layersArbitrary, (layers) => {
      for (const { format, picks } of uniformPlans(layers)) {
        const offered = layers.every(({ alternatives }) =>
          alternatives.some((a) => a.format.id === format.id),
        );
        if (offered) expect(picks.every((pick) => pick.format.id === format.id)).toBe(true);
      }
    }),
  );
});

test("says when only a mixed plan could fit", () => {
  const layers = [
    layerOf("a", [
      ["int2-b32", 10, 1],
      ["int4-b32", 100, 0],
    ]),
    layerOf("b", [
      ["int4-b32", 10, 1],
      ["int2-b32", 100, 0],
    ]),
  ];
  expect(() => uniform.allocate({ layers, budgetBytes: 50 })).toThrow(
    expect.objectContaining({
      code: "infeasible-budget",
      detail: { budgetBytes: 50, minBytes: 110, maxBytes: 110 },
      message:
        "Budget 50 B is below the smallest uniform plan 110 B (int2-b32 wherever a layer offers it). Raise --budget, or use --allocator knapsack, which mixes formats.",
    }),
  );
});
