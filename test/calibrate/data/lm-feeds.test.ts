import { describe, expect, test } from "vitest";
import { validateFeeds } from "../../../src/calibrate/data/feeds.ts";
import {
  checkLanguageModel,
  languageModelFeeds,
  windowTargets,
} from "../../../src/calibrate/data/lm-feeds.ts";
import {
  type LanguageModelInputs,
  languageModelInputs,
} from "../../../src/calibrate/data/lm-inputs.ts";
import type { Graph } from "../../../src/onnx/types.ts";
import { graphOf, tinyLanguageModel } from "./graph.ts";

const windows = [
  { ids: Int32Array.of(5, 6, 7, 8), scoreFrom: 0 },
  { ids: Int32Array.of(8, 9, 10, 11), scoreFrom: 2 },
];

function inputsOf(graph: Graph): LanguageModelInputs {
  const inputs = languageModelInputs(graph);
  if (!inputs) throw new Error("no language model");
  return inputs;
}

const exported = graphOf({
  inputs: {
    input_ids: ["int64", ["batch_size", "sequence_length"]],
    attention_mask: ["int64", ["batch_size", "total_sequence_length"]],
    position_ids: ["int64", ["batch_size", "sequence_length"]],
    token_type_ids: ["int64", ["batch_size", "sequence_length"]],
    cache_position: ["int64", ["sequence_length"]],
    use_cache_branch: ["bool", [1]],
    num_logits_to_keep: ["int64", []],
    "past_key_values.0.key": ["float16", ["batch_size", 4, "past_sequence_length", 8]],
    "past_key_values.0.value": ["float32", ["batch_size", 4, "past_sequence_length", 8]],
    past_conv: ["float32", ["batch_size", 6, 3]],
  },
});

describe("languageModelFeeds", () => {
  test("fills every input that exporters write", () => {
    const feeds = languageModelFeeds(exported, inputsOf(exported), windows);
    expect(() => validateFeeds(feeds, exported)).not.toThrow();
    expect(feeds.input_ids).toEqual({
      dtype: "int64",
      shape: [2, 3],
      data: BigInt64Array.of(5n, 6n, 7n, 8n, 9n, 10n),
    });
    expect(feeds.attention_mask.data).toEqual(new BigInt64Array(6).fill(1n));
    expect(feeds.position_ids.data).toEqual(BigInt64Array.of(0n, 1n, 2n, 0n, 1n, 2n));
    expect(feeds.token_type_ids.data).toEqual(new BigInt64Array(6));
    expect(feeds.cache_position).toMatchObject({
      shape: [3],
      data: BigInt64Array.of(0n, 1n, 2n),
    });
    expect(feeds.use_cache_branch).toEqual({
      dtype: "bool",
      shape: [1],
      data: Uint8Array.of(0),
    });
    expect(feeds.num_logits_to_keep).toMatchObject({ shape: [], data: BigInt64Array.of(0n) });
    expect(feeds["past_key_values.0.key"]).toEqual({
      dtype: "float16",
      shape: [2, 4, 0, 8],
      data: new Uint16Array(0),
    });
    expect(feeds["past_key_values.0.value"]).toMatchObject({ shape: [2, 4, 0, 8] });
    expect(feeds.past_conv).toMatchObject({ shape: [2, 6, 3], data: new Float32Array(36) });
  });

  test("a past of fixed length is zeros behind the mask", () => {
    const graph = graphOf({
      inputs: {
        input_ids: ["int32", [1, "sequence"]],
        attention_mask: ["int64", [1, "total"]],
        "past.0.key": ["float32", [1, 2, 4, 8]],
      },
    });
    const inputs = inputsOf(graph);
    expect(inputs.fixedBatch).toBe(1);
    const feeds = languageModelFeeds(graph, inputs, [windows[0]]);
    expect(feeds.input_ids.data).toEqual(Int32Array.of(5, 6, 7));
    expect(feeds.attention_mask.data).toEqual(BigInt64Array.of(0n, 0n, 0n, 0n, 1n, 1n, 1n));
    expect(feeds["past.0.key"].shape).toEqual([1, 2, 4, 8]);
  });

  test("the old GPT-2 layout [2, batch, heads, past, width] finds its batch by name", () => {
    const graph = graphOf({
      inputs: {
        input_ids: ["int64", ["batch", "seq"]],
        past_0: ["float32", [2, "batch", 12, "past_seq_len", 64]],
      },
    });
    const feeds = languageModelFeeds(graph, inputsOf(graph), windows);
    expect(feeds.past_0.shape).toEqual([2, 2, 12, 0, 64]);
  });

  test("ids without a batch axis are one window at a time", () => {
    const graph = graphOf({ inputs: { tokens: ["int32", ["n"]] } });
    const inputs = inputsOf(graph);
    expect(inputs).toMatchObject({ ids: "tokens", fixedBatch: 1 });
    expect(languageModelFeeds(graph, inputs, [windows[0]]).tokens.shape).toEqual([3]);
  });

  test("a cache of unknown width is refused by name", () => {
    const graph = graphOf({
      inputs: {
        input_ids: ["int64", ["b", "s"]],
        "past.key": ["float32", ["b", "heads", "past", 8]],
      },
    });
    expect(() => languageModelFeeds(graph, inputsOf(graph), windows)).toThrow(
      /"past\.key" has dimension 1 \(heads\)/,
    );
  });
});

describe("languageModelInputs", () => {
  test("is undefined without integer ids", () => {
    expect(languageModelInputs(graphOf({ inputs: { x: ["float32", [1, 3]] } }))).toBeUndefined();
    const two = graphOf({ inputs: { p: ["int64", [1, 3]], q: ["int64", [1, 3]] } });
    expect(languageModelInputs(two)).toBeUndefined();
  });

  test("takes the only unnamed integer input as ids", () => {
    const graph = graphOf({ inputs: { "input.1": ["int64", ["n", 7]] } });
    expect(languageModelInputs(graph)).toMatchObject({ ids: "input.1", fixedSequence: 7 });
  });

  test("lists what it cannot fill, but not inputs that have an initializer", () => {
    const graph = graphOf({
      inputs: {
        input_ids: ["int64", ["b", "s"]],
        pixel_values: ["float32", ["b", 3, 4, 4]],
        attention_mask: ["int64", ["b", 1, "s", "s"]],
        scale: ["float32", [1]],
      },
      initializers: { scale: [1] },
    });
    const inputs = inputsOf(graph);
    expect(inputs.unknown).toEqual(["pixel_values", "attention_mask"]);
    expect(() => checkLanguageModel(inputs, 8)).toThrow('also needs "pixel_values", "attention_m');
  });

  test("reads the vocabulary from the table, through casts, and from the logits", () => {
    expect(inputsOf(tinyLanguageModel(50)).vocabularySize).toBe(50);
    const cast = graphOf({
      inputs: { input_ids: ["int64", ["b", "s"]] },
      outputs: { logits: ["float32", ["b", "s", 40]] },
      initializers: { table: [60, 4], positions: [9, 4] },
      nodes: [
        ["Cast", ["input_ids"], "cast"],
        ["Gather", ["table", "cast"], "rows"],
        ["Gather", ["positions", "range"], "more"],
      ],
    });
    expect(inputsOf(cast).vocabularySize).toBe(40);
    expect(inputsOf(exported).vocabularySize).toBeUndefined();
  });

  test("a fixed sequence length excludes other windows", () => {
    const graph = graphOf({ inputs: { input_ids: ["int64", [1, 16]] } });
    expect(() => checkLanguageModel(inputsOf(graph), 16)).not.toThrow();
    expect(() => checkLanguageModel(inputsOf(graph), 8)).toThrow("takes exactly 16 tokens");
  });
});

test("windowTargets gives the next ids and weights only what is scored", () => {
  const { targets, weights, scored } = windowTargets(windows);
  expect(targets).toEqual({
    dtype: "int64",
    shape: [2, 3],
    data: BigInt64Array.of(6n, 7n, 8n, 9n, 10n, 11n),
  });
  expect(weights.data).toEqual(Float32Array.of(1, 1, 1, 0, 0, 1));
  expect(scored).toBe(4);
});
