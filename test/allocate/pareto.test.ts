import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lowerHull, undominated } from "../../src/allocate/alternatives.ts";
import { marginalPrice, paretoFrontier } from "../../src/allocate/pareto.ts";
import { fillBudget } from "../../src/allocate/relaxation.ts";
import { cheapestPlan, layerOf, layersArbitrary } from "../support/reference-allocation.ts";

const rows = [
  ["int2-b32", 20, 10],
  ["int3-b32", 30, 9],
  ["int4-b32", 40, 4],
  ["int4-b64", 41, 4],
  ["int8-b32", 80, 2],
] as const;

test("undominated and lowerHull keep the alternatives worth their bytes", () => {
  const kept = undominated(layerOf("l", rows).alternatives);
  expect(kept.map(({ format }) => format.id)).toEqual([
    "int2-b32",
    "int3-b32",
    "int4-b32",
    "int8-b32",
  ]);
  expect(lowerHull(kept).map(({ format }) => format.id)).toEqual([
    "int2-b32",
    "int4-b32",
    "int8-b32",
  ]);
});

describe("paretoFrontier", () => {
  test("goes from smallest to best, steepest step first", () => {
    const steeper = [
      ["int2-b32", 20, 30],
      ["int4-b32", 40, 4],
    ] as const;
    const points = paretoFrontier([layerOf("a", rows), layerOf("b", steeper)]);
    expect(
      points.map(({ bytes, loss, upgrade }) => [bytes, loss, upgrade?.layer, upgrade?.format.id]),
    ).toEqual([
      [40, 40, undefined, undefined],
      [60, 14, "b", "int4-b32"],
      [80, 8, "a", "int4-b32"],
      [120, 6, "a", "int8-b32"],
    ]);
  });

  test("is the optimum at each of its points, and convex", () => {
    fc.assert(
      fc.property(layersArbitrary, (layers) => {
        const points = paretoFrontier(layers);
        for (const [at, { bytes, loss }] of points.entries()) {
          const best = cheapestPlan(layers, bytes) ?? Number.NaN;
          expect(Math.abs(loss - best)).toBeLessThanOrEqual(1e-9 * points[0].loss);
          if (at > 1)
            expect(points[at].lossPerByte).toBeLessThanOrEqual(points[at - 1].lossPerByte);
        }
      }),
    );
  });
});

test("marginalPrice names the upgrade that saves most per byte, none at the best", () => {
  const layers = [layerOf("a", rows), layerOf("b", rows)];
  const prices = marginalPrice([layers[0].alternatives[0], layers[1].alternatives[4]], layers);
  expect(prices).toEqual([
    { layer: "a", upgrade: layers[0].alternatives[2], lossPerByte: 0.3 },
    { layer: "b", upgrade: undefined, lossPerByte: 0 },
  ]);
});

test("fillBudget spends what is left on the exchange that helps most", () => {
  const layers = [layerOf("a", rows), layerOf("b", rows)];
  const smallest = layers.map(({ alternatives }) => alternatives[0]);
  expect(fillBudget(layers, smallest, 49).map(({ bytes }) => bytes)).toEqual([20, 20]);
  expect(fillBudget(layers, smallest, 59).map(({ bytes }) => bytes)).toEqual([30, 20]);
  expect(fillBudget(layers, smallest, 75).map(({ bytes }) => bytes)).toEqual([40, 30]);
});
