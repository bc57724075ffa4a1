import { describe, expect, test } from "vitest";
import { plainProtocol } from "../../../src/calibrate/data/protocol.ts";
import { textDataset } from "../../../src/calibrate/data/text.ts";
import { loadTokenizer } from "../../../src/calibrate/data/tokenizer.ts";
import { graphOf, tinyLanguageModel } from "./graph.ts";
import { wordTokenizer, writeTokenizer } from "./tokenizers.ts";

const plain = await loadTokenizer(await writeTokenizer(wordTokenizer(false)));
const withBos = await loadTokenizer(await writeTokenizer(wordTokenizer(true)));
const graph = tinyLanguageModel();
const text = "a b c d a b c d a b c d";

const idsOf = async (data: ReturnType<typeof textDataset>, index = 0) =>
  (await data.batch(index)).windows?.map(({ ids }) => Array.from(ids));

describe("textDataset", () => {
  test("feeds consecutive windows in batches, a smaller one last", async () => {
    const data = textDataset(text, {
      graph,
      tokenizer: plain,
      protocol: plainProtocol(3),
      batchSize: 2,
    });
    expect(data).toMatchObject({ kind: "text", samples: 3, batches: 2, overlap: 0 });
    expect(data.description).toContain("12 tokens, 3 windows of 3 predictions");
    expect(await idsOf(data)).toEqual([
      [2, 3, 4, 5],
      [5, 2, 3, 4],
    ]);
    const last = await data.batch(1);
    expect(last.samples).toBe(1);
    expect(last.feeds.input_ids.data).toEqual(BigInt64Array.of(4n, 5n, 2n));
  });

  test.each([
    ["the tokenizer's own", withBos, "auto", text, [0, 2, 3]],
    ["no doubled", withBos, "auto", `<s> ${text}`, [0, 2, 3]],
    ["none where the tokenizer sets none", plain, "auto", text, [2, 3, 4]],
    ["none on request", withBos, "none", text, [2, 3, 4]],
    ["a given", plain, 1, text, [1, 2, 3]],
  ] as const)("%s BOS", async (_, tokenizer, bos, words, first) => {
    const data = textDataset(words, { graph, tokenizer, protocol: plainProtocol(2, bos) });
    expect((await idsOf(data))?.[0]).toEqual(first);
  });

  test("a BOS that the tokenizer does not have is refused", () => {
    const options = { graph, tokenizer: plain, protocol: plainProtocol(2, 6) };
    expect(() => textDataset(text, options)).toThrow("a token id below 6, got 6");
  });

  test("a model without logits reads each window as a text of its own", async () => {
    const encoder = graphOf({
      inputs: { input_ids: ["int64", ["b", "s"]] },
      outputs: { last_hidden_state: ["float32", ["b", "s", 16]] },
    });
    const tokenizer = { ...withBos, maxLength: 3 };
    const data = textDataset(text, { graph: encoder, tokenizer });
    expect(data.protocol).toMatchObject({ window: 3, bosEachWindow: true });
    expect((await idsOf(data))?.map(([first]) => first)).toEqual([0, 0, 0, 0]);
    expect(data.notices).toEqual([]);
  });

  test("logits beside a mask token: the perplexity may mean nothing, and that is said", () => {
    const options = { graph, tokenizer: { ...plain, mask: 1 }, protocol: plainProtocol(3) };
    const codes = textDataset(text, options).notices.map(({ code }) => code);
    expect(codes).toEqual(["masked-language-model"]);
  });

  test("the graph's fixed batch and sequence decide", async () => {
    const fixed = graphOf({ inputs: { input_ids: ["int64", [2, 3]] } });
    const data = textDataset(text, { graph: fixed, tokenizer: plain });
    expect(data).toMatchObject({ samples: 2, batches: 1 });
    expect((await data.batch(0)).feeds.input_ids.shape).toEqual([2, 3]);
    expect(() => data.select([0])).toThrow("expected at least 2 (the model's batch), got 1");
  });

  test("select keeps the chosen windows and changes the fingerprint", async () => {
    const data = textDataset(text, { graph, tokenizer: plain, protocol: plainProtocol(3) });
    const chosen = data.select([2, 0]);
    expect(await idsOf(chosen)).toEqual([
      [4, 5, 2, 3],
      [2, 3, 4, 5],
    ]);
    expect(await idsOf(chosen.select([1]))).toEqual([[2, 3, 4, 5]]);
    expect(chosen.fingerprint).not.toBe(data.fingerprint);
    expect(data.select([0, 1, 2]).fingerprint).toBe(data.fingerprint);
    expect(() => data.select([])).toThrow("Too few samples");
  });

  test("the fingerprint follows ids, protocol and rows", () => {
    const print = (words: string, window: number, rows?: number) =>
      textDataset(words, { graph, tokenizer: plain, protocol: plainProtocol(window), rows })
        .fingerprint;
    const prints = [print(text, 3), print(`${text} a`, 3), print(text, 4), print(text, 3, 1)];
    expect(new Set(prints).size).toBe(4);
    expect(print(text, 3)).toBe(prints[0]);
    expect(prints[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("refuses empty text, short text and foreign ids, saying what was found", () => {
    const tokenizer = plain;
    const options = { graph, tokenizer, protocol: plainProtocol(12), label: "t.txt" };
    expect(() => textDataset("", options)).toThrow("The text of t.txt is empty");
    expect(() => textDataset("  ", options)).toThrow("The text of t.txt is empty");
    expect(() => textDataset(text, options)).toThrow("expected at least 13 tokens, got 12");
    const small = { ...options, protocol: plainProtocol(2), graph: tinyLanguageModel(5) };
    expect(() => textDataset(text, small)).toThrow(
      "Token 5 at position 3 of t.txt is outside the model's vocabulary: expected ids below 5",
    );
    expect(() => textDataset(text, { ...small, vocabularySize: 6 })).not.toThrow();
  });

  test("refuses a model that takes no ids", () => {
    const image = graphOf({ inputs: { image: ["float32", [1, 3, 8, 8]] } });
    expect(() => textDataset(text, { graph: image, tokenizer: plain })).toThrow(
      'got "image" float32 [1, 3, 8, 8]',
    );
  });

  test.each([{ rows: 0 }, { rows: 1.5 }, { batchSize: 0 }])("refuses %o", (option) => {
    const options = { graph, tokenizer: plain, protocol: plainProtocol(3), ...option };
    expect(() => textDataset(text, options)).toThrow(`Option ${Object.keys(option)[0]}`);
  });
});
