import { readFile, truncate, writeFile } from "node:fs/promises";
import { afterAll, describe, expect, test } from "vitest";
import type { Dataset } from "../../src/core/dataset.ts";
import type { LayerStats } from "../../src/core/stats.ts";
import {
  type CollectedStatistics,
  checkStatistics,
  loadStatistics,
  saveStatistics,
} from "../../src/pipeline/statistics-file.ts";
import { scratch } from "../support/command.ts";

const folder = scratch();
afterAll(folder.remove);

const hessian = Float64Array.from({ length: 9 }, (_, i) => Math.PI * i);
const layer = (name: string, values: object) =>
  [name, { layer: name, tokens: 12, ...values } as LayerStats] as const;
const collected: CollectedStatistics = {
  model: "m".repeat(64),
  data: { description: "a.txt: 9 tokens", samples: 3, fingerprint: "d".repeat(64) },
  needs: ["hessian", "absMax", "outputPower"],
  layers: new Map([
    layer("q", { hessian, absMax: Float32Array.of(1, 2, 0.1), outputPower: 1 / 3 }),
    layer("k", { hessian: hessian.slice(), absMax: undefined, outputPower: 5e-324 }),
    layer("table", { hessian: undefined, absMax: undefined, outputPower: undefined }),
  ]),
};

test("what is loaded equals what was saved, bit for bit", async () => {
  await saveStatistics(collected, folder.at("s"));
  expect(await loadStatistics(folder.at("s"))).toEqual(collected);
});

test("the file is a safetensors file that stores equal arrays once", async () => {
  const bytes = await readFile(folder.at("s"));
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(bytes.subarray(8, 8 + length).toString());
  expect(length % 8).toBe(0);
  expect(Object.values(__metadata__).every((value) => typeof value === "string")).toBe(true);
  expect(tensors).toEqual({
    t0: { dtype: "F64", shape: [9], data_offsets: [0, 72] },
    t1: { dtype: "F32", shape: [3], data_offsets: [72, 84] },
  });
  expect(bytes.length).toBe(8 + length + 84);
});

test("arrays with equal bytes keep their types", async () => {
  const zeros: CollectedStatistics = {
    ...collected,
    layers: new Map([layer("q", { hessian: new Float64Array(4), absMax: new Float32Array(8) })]),
  };
  await saveStatistics(zeros, folder.at("zeros"));
  const loaded = (await loadStatistics(folder.at("zeros"))).layers.get("q");
  expect(loaded?.hessian).toEqual(new Float64Array(4));
  expect(loaded?.absMax).toEqual(new Float32Array(8));
});

test("damaged files are refused, existing ones are kept", async () => {
  await writeFile(folder.at("cut"), await readFile(folder.at("s")));
  await truncate(folder.at("cut"), 400);
  const refused = { code: "bad-option", detail: { option: "stats" } };
  await expect(loadStatistics(folder.at("cut"))).rejects.toMatchObject(refused);
  await writeFile(folder.at("text"), "no statistics, but more than eight bytes");
  await expect(loadStatistics(folder.at("text"))).rejects.toMatchObject(refused);
  await expect(loadStatistics(folder.at("none"))).rejects.toMatchObject(refused);
  const edited = (await readFile(folder.at("s"))).toString("latin1").replace("mmm", "nnn");
  await writeFile(folder.at("edited"), edited, "latin1");
  await expect(loadStatistics(folder.at("edited"))).rejects.toMatchObject(refused);
  const flipped = await readFile(folder.at("s"));
  flipped[flipped.length - 50] ^= 1;
  await writeFile(folder.at("flipped"), flipped);
  await expect(loadStatistics(folder.at("flipped"))).rejects.toMatchObject({
    ...refused,
    message: expect.stringContaining("damaged"),
  });
  await expect(saveStatistics(collected, folder.at("text"))).rejects.toMatchObject({
    code: "output",
  });
  await saveStatistics(collected, folder.at("text"), { force: true });
  expect(await loadStatistics(folder.at("text"))).toEqual(collected);
});

describe("stale statistics", () => {
  const { model, data } = collected;
  const dataset = { ...data } as unknown as Dataset;
  const check = (wanted: Partial<Parameters<typeof checkStatistics>[1]>) => () =>
    checkStatistics(collected, { model, data: dataset, needs: ["hessian"], ...wanted });

  test("of the same model and data pass", () => {
    expect(check({})).not.toThrow();
  });
  test("of another model, other data, or without what is needed are refused", () => {
    expect(check({ model: "other" })).toThrow(/stale: expected those of this model/);
    expect(check({ data: { ...dataset, samples: 4, fingerprint: "e" } as Dataset })).toThrow(
      /stale: expected 4 samples of a\.txt.*got 3 samples/,
    );
    expect(check({ needs: ["hessian", "meanSquare"] })).toThrow(/stale: expected meanSquare too/);
  });
});
