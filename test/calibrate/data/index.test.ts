import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import {
  loadTokenizer,
  openDataset,
  plainProtocol,
  protocols,
  textDataset,
} from "../../../src/calibrate/data/index.ts";
import { graphOf, tinyLanguageModel } from "./graph.ts";
import { npyBytes } from "./npy-bytes.ts";
import { temporaryFolder, wordTokenizer, writeTokenizer } from "./tokenizers.ts";

const graph = tinyLanguageModel();

describe("openDataset", () => {
  test("picks the source by extension", async () => {
    const folder = await writeTokenizer(wordTokenizer(true));
    const write = async (name: string, data: string | Uint8Array) => {
      await writeFile(join(folder, name), data);
      return join(folder, name);
    };
    const text = await write("t.md", "a b c d a b");
    expect(await openDataset({ graph, path: text, window: 3 })).toMatchObject({
      kind: "text",
      samples: 2,
      protocol: { window: 3, bos: "auto" },
    });
    const lines = await write("f.jsonl", '{"input_ids": [[1, 2]]}');
    expect((await openDataset({ graph, path: lines })).kind).toBe("manifest");
    const array = await write("x.NPY", npyBytes("<i8", [2, 2], new BigInt64Array(4)));
    expect(await openDataset({ graph, path: array })).toMatchObject({ samples: 2 });
    expect(await openDataset({ graph, rows: 3 })).toMatchObject({ kind: "synthetic", samples: 3 });
    await expect(openDataset({ graph, path: join(folder, "a.npz") })).rejects.toThrow("got .npz");
  });

  test("finds the tokenizer beside the model before the one beside the text", async () => {
    const model = await writeTokenizer(wordTokenizer(true));
    const beside = await writeTokenizer(wordTokenizer(false));
    const path = join(beside, "t.txt");
    await writeFile(path, "a b c d");
    const first = async (options: { modelPath?: string; tokenizer?: string }) => {
      const { windows } = await (await openDataset({ graph, path, window: 2, ...options })).batch(
        0,
      );
      return windows?.[0].ids[0];
    };
    expect(await first({})).toBe(2);
    expect(await first({ modelPath: join(model, "model.onnx") })).toBe(0);
    expect(await first({ modelPath: join(model, "model.onnx"), tokenizer: beside })).toBe(2);
  });

  test("says where it looked for a tokenizer and how to pass one", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "t.txt");
    await writeFile(path, "a");
    await expect(openDataset({ graph, path })).rejects.toThrow(/tokenizer\.json.*--tokenizer/);
  });

  test("refuses unreadable text and a protocol given twice", async () => {
    const folder = await writeTokenizer(wordTokenizer(false));
    const path = join(folder, "t.txt");
    await expect(openDataset({ graph, path })).rejects.toThrow("ENOENT");
    await writeFile(path, Uint8Array.of(0xff, 0xfe, 0x00));
    await expect(openDataset({ graph, path })).rejects.toThrow("UTF-8");
    const protocol = protocols["hf-2048"];
    await expect(openDataset({ graph, path, protocol, window: 3 })).rejects.toMatchObject({
      code: "bad-option",
    });
  });

  test("a text for a model without ids fails before a tokenizer is missed", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "t.txt"), "a");
    const image = graphOf({ inputs: { image: ["float32", [1, 3]] } });
    await expect(openDataset({ graph: image, path: join(folder, "t.txt") })).rejects.toThrow(
      "Text cannot feed this model",
    );
  });
});

const models = resolve(import.meta.dirname, "../../../../shared/models");

describe.skipIf(!existsSync(models))("real models (skipped: example models not here)", () => {
  test("stories260k: two halves by characters, one BOS each, windows of 256", async () => {
    const folder = join(models, "stories260k");
    const tokenizer = await loadTokenizer(folder);
    const text = readFileSync(join(folder, "text.txt"), "utf8");
    const half = Math.floor(text.length / 2);
    for (const part of [text.slice(0, half), text.slice(half)]) {
      const data = textDataset(part, { graph: tinyLanguageModel(512), tokenizer });
      expect(data.samples).toBeGreaterThan(120);
      const { windows = [] } = await data.batch(0);
      expect(windows.map(({ ids }) => ids[0] === 1)).toEqual([true, false, false, false]);
      expect(windows[0].ids[256]).toBe(windows[1].ids[0]);
    }
  });

  test("tiny-lm: nothing is prepended unless asked", async () => {
    const path = join(models, "tiny-lm", "evaluation.txt");
    const lm = tinyLanguageModel(1024);
    const open = async (bos?: number) => {
      const data = await openDataset({
        graph: lm,
        path,
        rows: 1,
        ...(bos !== undefined && { bos }),
      });
      return (await data.batch(0)).windows?.[0].ids ?? [];
    };
    const [auto, zero] = [await open(), await open(0)];
    expect([auto.length, zero[0], zero[1]]).toEqual([257, 0, auto[0]]);
    const wrong = openDataset({ graph: tinyLanguageModel(512), path });
    await expect(wrong).rejects.toThrow("outside the model's vocabulary");
    expect(plainProtocol(256).window).toBe(256);
  });
});
