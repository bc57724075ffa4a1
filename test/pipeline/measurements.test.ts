import { writeFile } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { parsePin } from "../../src/allocate/index.ts";
import {
  loadMeasurements,
  type Measurements,
  planFormats,
} from "../../src/pipeline/measurements.ts";
import { scratch } from "../support/command.ts";

const folder = scratch();
afterAll(folder.remove);

const layer = (name: string, gain: number): Measurements["layers"][number] => ({
  layer: name,
  weights: 1000,
  block: null,
  importance: null,
  alternatives: [
    { format: "int4-b32", bytes: 560, loss: gain },
    { format: "int8-b32", bytes: 1060, loss: gain / 100 },
    { format: "float32", bytes: 4000, loss: 0 },
  ],
});

const measured: Measurements = {
  version: 1,
  command: "score",
  bitloom: "0",
  fingerprint: "f",
  model: { path: "m.onnx", sha256: "s" },
  data: { description: "d", fingerprint: "e" },
  scorer: "output-error",
  quantizer: "rtn",
  quantize: { grid: "mse", activationOrder: false, damping: 0.01 },
  target: "portable",
  unit: "u",
  formats: ["int4-b32", "int8-b32"],
  weights: 3000,
  floatFileBytes: 12_500,
  overheadBytes: 700,
  layers: [layer("a", 1), layer("b", 2), layer("c", 3)],
  notices: [],
  timings: {},
};

const formatsOf = async (options: Parameters<typeof planFormats>[1]) =>
  (await planFormats(measured, options)).layers.map(({ format }) => format);

test("the layers that gain most get the bits", async () => {
  const [four, eight] = ["int4-b32", "int8-b32"];
  expect(await formatsOf({ budget: "5bpw" })).toEqual([four, four, four]);
  expect(await formatsOf({ budget: "6bpw" })).toEqual([four, four, eight]);
  expect(await formatsOf({ budget: "32bpw" })).toEqual([eight, eight, eight]);
});

test("budgets of the file keep the overhead in reserve", async () => {
  const { budgetBytes, layers } = await planFormats(measured, { budget: "2880B" });
  expect(budgetBytes).toBe(2180);
  expect(layers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(2180);
  await expect(planFormats(measured, { budget: "500B" })).rejects.toMatchObject({
    code: "infeasible-budget",
  });
});

test("float32 is there for pins alone", async () => {
  const pins = [parsePin("b=float32")];
  expect(await formatsOf({ budget: "32bpw", pins })).toEqual(["int8-b32", "float32", "int8-b32"]);
});

test("a file that is no measurements is refused with the place", async () => {
  const write = async (content: unknown) => {
    await writeFile(folder.at("s.json"), JSON.stringify(content));
    return loadMeasurements(folder.at("s.json"));
  };
  expect(await write(measured)).toEqual(measured);
  const wrong: readonly (readonly [content: unknown, message: RegExp])[] = [
    [null, /at the top level/],
    [{ ...measured, version: 2 }, /at version/],
    [{ ...measured, overheadBytes: -1 }, /at overheadBytes/],
    [{ ...measured, quantize: { grid: "mse" } }, /at quantize/],
    [{ ...measured, formats: "int4-b32" }, /at formats/],
    [
      { ...measured, layers: [layer("a", 1), { ...layer("b", 1), alternatives: [] }] },
      /layers\[1\]/,
    ],
    [{ ...measured, layers: [layer("a", -1)] }, /at layers\[0\]/],
  ];
  for (const [content, message] of wrong) {
    await expect(write(content)).rejects.toMatchObject({ code: "bad-option", message });
  }
});
