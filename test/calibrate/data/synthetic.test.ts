import { describe, expect, test } from "vitest";
import { syntheticDataset } from "../../../src/calibrate/data/synthetic.ts";
import { graphOf, tinyLanguageModel } from "./graph.ts";

describe("syntheticDataset", () => {
  test("says loudly that it is made up", () => {
    const data = syntheticDataset({ graph: tinyLanguageModel(), seed: 0 });
    expect(data.notices.map(({ code }) => code)).toEqual(["synthetic-calibration"]);
    expect(data).toMatchObject({ kind: "synthetic", samples: 64, batches: 16 });
  });

  test("language models get ids over the whole vocabulary, with targets", async () => {
    const data = syntheticDataset({ graph: tinyLanguageModel(10), seed: 1, rows: 4 });
    const { feeds, windows } = await data.batch(0);
    expect(feeds.input_ids.shape).toEqual([4, 64]);
    const ids = Array.from(feeds.input_ids.data as BigInt64Array, Number);
    expect(new Set(ids)).toEqual(new Set(Array.from({ length: 10 }, (_, i) => i)));
    expect(windows?.[3].ids).toHaveLength(65);
  });

  test("same seed and index, same values; other seeds and samples differ", async () => {
    const options = { graph: tinyLanguageModel(), rows: 2, batchSize: 1 };
    const ids = async (seed: number, index: number) =>
      String((await syntheticDataset({ ...options, seed }).batch(index)).feeds.input_ids.data);
    expect(await ids(3, 1)).toBe(await ids(3, 1));
    expect(new Set([await ids(3, 0), await ids(3, 1), await ids(4, 0), await ids(4, 1)]).size).toBe(
      4,
    );
    const print = (seed: number) => syntheticDataset({ ...options, seed }).fingerprint;
    expect(print(3)).toBe(print(3));
    expect(print(3)).not.toBe(print(4));
  });

  test("a fixed batch is filled", () => {
    const graph = graphOf({ inputs: { input_ids: ["int64", [3, 8]] } });
    expect(syntheticDataset({ graph, seed: 0, rows: 4 })).toMatchObject({ samples: 6, batches: 2 });
  });

  test("images get open sides of 64, values near normal(0, 1)", async () => {
    const graph = graphOf({ inputs: { image: ["float32", [undefined, 3, "h", undefined]] } });
    const { feeds } = await syntheticDataset({ graph, seed: 0, rows: 1 }).batch(0);
    expect(feeds.image.shape).toEqual([1, 3, 64, 64]);
    const values = feeds.image.data as Float32Array;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const power = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(power - 1)).toBeLessThan(0.1);
  });

  test("several inputs share the size of a dimension; integers stay inside the table", async () => {
    const graph = graphOf({
      inputs: {
        speech: ["float16", ["batch", 80, "time"]],
        speaker: ["int64", ["batch"]],
        speech_mask: ["bool", ["batch", "time"]],
        unused: ["int32", ["batch", 5, 5]],
      },
      initializers: { speakers: [3, 4] },
      nodes: [["Gather", ["speakers", "speaker"], "embedded"]],
    });
    const data = syntheticDataset({ graph, seed: 0, rows: 20 });
    for (let index = 0; index < 20; index++) {
      const { feeds } = await data.batch(index);
      expect(feeds.speech.shape[2]).toBe(feeds.speech_mask.shape[1]);
      expect(Number(feeds.speaker.data[0])).toBeLessThan(3);
    }
  });

  test("refuses inputs of unknown rank or type, and impossible counts", () => {
    const blank = graphOf({ inputs: { x: ["float32", undefined] } });
    expect(() => syntheticDataset({ graph: blank, seed: 0 })).toThrow(/"x".*of any shape/);
    const text = graphOf({ inputs: { x: ["string", [1]] } });
    expect(() => syntheticDataset({ graph: text, seed: 0 })).toThrow(/"x".*string/);
    const graph = tinyLanguageModel();
    expect(() => syntheticDataset({ graph, seed: 0, rows: -1 })).toThrow("Option rows");
    expect(() => syntheticDataset({ graph: blank, seed: 0, rows: -1 })).toThrow();
  });
});
