import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parsePlan, picksFromPlan, serializePlan, toPlan } from "../../src/allocate/plan.ts";
import { layerOf, layersArbitrary } from "../support/reference-allocation.ts";

const origin = {
  scorer: "kl",
  allocator: "knapsack",
  quantizer: "gptq",
  target: "portable",
  budgetBytes: 130,
};
const rows = [
  ["int4-b32", 40, 0.25],
  ["int8-b32-asym", 80, 1e-9],
] as const;
const layers = [layerOf("/0/q/MatMul", rows), layerOf('odd "name"', rows)];
const plan = toPlan([layers[0].alternatives[0], layers[1].alternatives[1]], origin);

test("serializePlan writes stable JSON with one line per layer", () => {
  expect(serializePlan(plan)).toMatchInlineSnapshot(`
    "{
      "version": 1,
      "scorer": "kl",
      "allocator": "knapsack",
      "quantizer": "gptq",
      "target": "portable",
      "budgetBytes": 130,
      "layers": [
        { "layer": "/0/q/MatMul", "format": "int4-b32", "bytes": 40, "loss": 0.25 },
        { "layer": "odd \\"name\\"", "format": "int8-b32-asym", "bytes": 80, "loss": 1e-9 }
      ]
    }
    "
  `);
});

test("a plan survives the way through its file", () => {
  fc.assert(
    fc.property(layersArbitrary, (some) => {
      const written = toPlan(
        some.map(({ alternatives }) => alternatives[0]),
        origin,
      );
      expect(parsePlan(JSON.parse(serializePlan(written)))).toEqual(written);
    }),
  );
  const empty = toPlan([], origin);
  expect(parsePlan(JSON.parse(serializePlan(empty)))).toEqual(empty);
});

test("settings of the quantizer are optional and read strictly", () => {
  const quantize = { grid: "min-max", activationOrder: true, damping: 0.02 } as const;
  const written = toPlan([layers[0].alternatives[0]], { ...origin, quantize });
  expect(parsePlan(JSON.parse(serializePlan(written)))).toEqual({ ...written, quantize });
  expect(plan).not.toHaveProperty("quantize");
  for (const wrong of [null, {}, { ...quantize, grid: "other" }, { ...quantize, seed: 1 }]) {
    expect(() => parsePlan({ ...written, quantize: wrong })).toThrow(/at quantize/);
  }
});

describe("parsePlan refuses", () => {
  const [first] = plan.layers;
  test.each([
    [null, /at the top level, expected an object, got null/],
    [[], /at the top level, expected an object, got \[\]/],
    [{ ...plan, version: 2 }, /at version, expected 1, got 2/],
    [{ layers: [] }, /at version, expected 1, got nothing/],
    [
      { version: 1, layers: [] },
      /"scorer", "allocator", "quantizer", "target", "budgetBytes" is missing/,
    ],
    [{ ...plan, extra: 1 }, /"extra" is unknown\. Expected the fields "version", /],
    [{ ...plan, scorer: "" }, /at scorer, expected a text that is not empty, got ""/],
    [
      { ...plan, budgetBytes: 1.5 },
      /at budgetBytes, expected a whole number of bytes, zero or above, got 1.5/,
    ],
    [{ ...plan, layers: {} }, /at layers, expected a list, got {}/],
    [{ ...plan, layers: [first, 3] }, /at layers\[1\], expected an object, got 3/],
    [
      { ...plan, layers: [{ ...first, bytes: -1 }] },
      /at layers\[0\]\.bytes, expected a whole number/,
    ],
    [
      { ...plan, layers: [{ ...first, loss: "0" }] },
      /at layers\[0\]\.loss, expected a number, zero or above, got "0"/,
    ],
    [{ ...plan, layers: [{ ...first, loss: -1 }] }, /at layers\[0\]\.loss/],
    [
      { ...plan, layers: [{ layer: "a", format: "int4-b32", bytes: 1 }] },
      /at layers\[0\], "loss" is missing/,
    ],
    [
      { ...plan, layers: [{ ...first, format: "int7-b32" }] },
      /layer "\/0\/q\/MatMul" \(layers\[0\]\): Unknown format "int7-b32"/,
    ],
    [{ ...plan, layers: [first, first] }, /layer "\/0\/q\/MatMul" is listed twice/],
  ])("%j", (json, message) => {
    expect(() => parsePlan(json)).toThrow(message);
    expect(() => parsePlan(json)).toThrow(/^Cannot use the plan: /);
    expect(() => parsePlan(json)).toThrow(expect.objectContaining({ code: "bad-option" }));
  });
});

describe("picksFromPlan", () => {
  test("takes bytes and losses from the layers, in their order", () => {
    const edited = {
      ...plan,
      layers: plan.layers.map((layer) => ({ ...layer, bytes: 0, loss: 9 })).reverse(),
    };
    expect(picksFromPlan(edited, layers)).toEqual([
      layers[0].alternatives[0],
      layers[1].alternatives[1],
    ]);
  });

  test("refuses layers that the model does not have, that the plan lacks, and formats not offered", () => {
    const rename = (layer: string) => ({ ...plan, layers: [{ ...plan.layers[0], layer }] });
    expect(() => picksFromPlan(rename("/0/k/MatMul"), layers)).toThrow(
      /layer "\/0\/k\/MatMul" is not in the model; close names: "\/0\/q\/MatMul", /,
    );
    expect(() => picksFromPlan(rename("/0/q/MatMul"), layers)).toThrow(
      /it says nothing about layer "odd "name""\. Add a line/,
    );
    const wide = {
      ...plan,
      layers: plan.layers.map((layer) => ({ ...layer, format: "int6-b32" })),
    };
    expect(() => picksFromPlan(wide, layers)).toThrow(
      /layer "\/0\/q\/MatMul" is not offered int6-b32, only int4-b32, int8-b32-asym/,
    );
  });
});
