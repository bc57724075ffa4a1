import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { findTokenizer, loadTokenizer } from "../../../src/calibrate/data/tokenizer.ts";
import { temporaryFolder, wordTokenizer, writeTokenizer } from "./tokenizers.ts";

describe("loadTokenizer", () => {
  test("encodes without specials, whatever the template prepends", async () => {
    for (const template of [false, true]) {
      const tokenizer = await loadTokenizer(await writeTokenizer(wordTokenizer(template)));
      expect(tokenizer.encode("a b d")).toEqual(Int32Array.of(2, 3, 5));
      expect(tokenizer.encode("")).toEqual(new Int32Array(0));
      expect(tokenizer.bos).toBe(template ? 0 : undefined);
      expect(tokenizer.vocabularySize).toBe(6);
      expect(tokenizer.decode([2, 3])).toBe("a b");
      expect(tokenizer.decode([])).toBe("");
    }
  });

  test.each([
    ["add_bos_token false overrides the template", true, { add_bos_token: false }, undefined],
    ["add_bos_token true takes bos_token", false, { add_bos_token: true, bos_token: "<s>" }, 0],
    [
      "bos_token may be an object",
      false,
      { add_bos_token: true, bos_token: { content: "</s>" } },
      1,
    ],
    ["a bos_token alone prepends nothing", false, { bos_token: "<s>" }, undefined],
  ])("%s", async (_, template, config, bos) => {
    const tokenizer = await loadTokenizer(await writeTokenizer(wordTokenizer(template), config));
    expect(tokenizer.bos).toBe(bos);
  });

  test("is found beside the model, and above a folder called onnx", async () => {
    const folder = await writeTokenizer(wordTokenizer(false));
    for (const model of ["model.onnx", "onnx/model.onnx"]) {
      const found = await findTokenizer(undefined, [join(folder, model)], "The test");
      expect(found.vocabularySize).toBe(6);
    }
    await expect(
      findTokenizer(undefined, [join(folder, "other/model.onnx")], "The test"),
    ).rejects.toThrow("needs a tokenizer");
  });

  test("mask and most tokens come from the config; 1e30 is no limit", async () => {
    const load = async (config?: Record<string, unknown>) =>
      loadTokenizer(await writeTokenizer(wordTokenizer(false), config));
    const limited = await load({ mask_token: "a", model_max_length: 77 });
    expect(limited).toMatchObject({ mask: 2, maxLength: 77 });
    expect((await load({ model_max_length: 1e30 })).maxLength).toBeUndefined();
    expect(await load()).toMatchObject({ mask: undefined, maxLength: undefined });
  });

  test("eos comes from the config", async () => {
    const folder = await writeTokenizer(wordTokenizer(false), { eos_token: "</s>" });
    expect((await loadTokenizer(folder)).eos).toBe(1);
    expect((await loadTokenizer(await writeTokenizer(wordTokenizer(false)))).eos).toBeUndefined();
  });

  test("the hash follows both files", async () => {
    const hash = async (template: boolean, config?: Record<string, unknown>) =>
      (await loadTokenizer(await writeTokenizer(wordTokenizer(template), config))).hash;
    const plain = await hash(false);
    expect(await hash(false)).toBe(plain);
    expect(await hash(true)).not.toBe(plain);
    expect(await hash(false, { add_bos_token: false })).not.toBe(plain);
  });

  test("an added token that no vocabulary entry covers counts for the vocabulary size", async () => {
    const description = wordTokenizer(false);
    const added = [...(description.added_tokens as object[]), { id: 9, content: "<x>" }];
    const folder = await writeTokenizer({ ...description, added_tokens: added });
    expect((await loadTokenizer(folder)).vocabularySize).toBe(10);
  });

  test("names text that has no token, where the unknown token itself is none", async () => {
    const description = wordTokenizer(false);
    const model = { ...(description.model as object), unk_token: "<unk>" };
    const tokenizer = await loadTokenizer(await writeTokenizer({ ...description, model }));
    expect(() => tokenizer.encode("a é")).toThrow(/no token for "<unk>"/);
  });

  test("refuses what is missing, no JSON, no object or no tokenizer, naming the file", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "tokenizer.json");
    await expect(loadTokenizer(folder)).rejects.toThrow(/tokenizer\.json": .* ENOENT/);
    for (const [text, message] of [
      ["{", "expected JSON"],
      ["[]", "got an array"],
      ["{}", "a Hugging Face tokenizer.json"],
      ['{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "expected a vocabulary"],
    ]) {
      await writeFile(file, text);
      const failure = expect(loadTokenizer(file)).rejects;
      await failure.toMatchObject({ code: "bad-data", detail: { input: file } });
      await expect(loadTokenizer(file)).rejects.toThrow(message);
    }
  });
});

const models = resolve(import.meta.dirname, "../../../../shared/models");

describe.skipIf(!existsSync(models))("real tokenizers (skipped: example models not here)", () => {
  test("stories260k prepends one BOS and equals a merge-by-merge reference", async () => {
    const folder = join(models, "stories260k");
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer).toMatchObject({ bos: 1, vocabularySize: 512 });
    const text = readFileSync(join(folder, "text.txt"), "utf8").slice(0, 1500);
    const ids = tokenizer.encode(text);
    expect(Array.from(ids)).toEqual(slowSentencePieceBpe(folder, text));
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test("tiny-lm prepends nothing and gives the text back", async () => {
    const folder = join(models, "tiny-lm");
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.bos).toBeUndefined();
    expect(tokenizer.vocabularySize).toBe(1024);
    const text = readFileSync(join(folder, "calibration.txt"), "utf8");
    const ids = tokenizer.encode(text);
    expect(ids.length).toBe(134924);
    expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.encode("<|endoftext|>a")[0]).toBe(0);
  });
});

/** Repeats: merge the leftmost pair of the lowest rank. Quadratic, for short texts. */
function slowSentencePieceBpe(folder: string, text: string): number[] {
  const { model } = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")) as {
    model: { vocab: Record<string, number>; merges: (string | string[])[] };
  };
  const ranks = new Map(
    model.merges.map((merge, rank) => [typeof merge === "string" ? merge : merge.join(" "), rank]),
  );
  const pieces = [...`▁${text.replaceAll(" ", "▁")}`];
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    let at = -1;
    for (let i = 0; i + 1 < pieces.length; i++) {
      const rank = ranks.get(`${pieces[i]} ${pieces[i + 1]}`);
      if (rank !== undefined && rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at === -1) break;
    pieces.splice(at, 2, pieces[at] + pieces[at + 1]);
  }
  return pieces.flatMap((piece) => {
    if (Object.hasOwn(model.vocab, piece)) return [model.vocab[piece]];
    return Array.from(
      new TextEncoder().encode(piece),
      (byte) => model.vocab[`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`],
    );
  });
}
