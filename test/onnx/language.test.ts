import { describe, expect, test } from "vitest";
import { findLogits, gatheredRows } from "../../src/onnx/index.ts";
import { graphOf } from "../calibrate/data/graph.ts";
import { bertFused, bertPlain, llamaFused, llamaPlain } from "../support/transformers/index.ts";

type Output = readonly ["float32" | "int64", readonly (number | string)[]];

/** A graph whose ids index a table of 100 rows. */
const withOutputs = (outputs: Readonly<Record<string, Output>>) =>
  graphOf({
    inputs: { input_ids: ["int64", ["b", "s"]] },
    outputs,
    initializers: { table: [100, 8] },
    nodes: [["Gather", ["table", "input_ids"], "embedded"]],
  });
const found = (outputs: Readonly<Record<string, Output>>) => findLogits(withOutputs(outputs))?.name;
const float = (...shape: (number | string)[]): Output => ["float32", shape];

describe("findLogits", () => {
  test("by name, else the only float output of rank 3", () => {
    expect(found({ states: float("b", "s", 100), logits: float("b", "s", 100) })).toBe("logits");
    expect(found({ states: float("b", "s", 100), lm_logits: float("b", "s", 100) })).toBe(
      "lm_logits",
    );
    expect(found({ scores: float("b", "s", 100), pooled: float("b", 8) })).toBe("scores");
    expect(found({ a: float("b", "s", 100), b: float("b", "s", 100) })).toBeUndefined();
    expect(found({ logits: float("b", 2) })).toBeUndefined();
    expect(found({ logits: ["int64", ["b", "s", 100]] })).toBeUndefined();
  });

  test("padded or unknown widths count, labels of tokens and hidden states do not", () => {
    expect(found({ logits: float("b", "s", 128) })).toBe("logits");
    expect(found({ logits: float("b", "s", "v") })).toBe("logits");
    expect(found({ logits: float("b", "s", 9) })).toBeUndefined();
    expect(found({ output: float("b", "s", 768) })).toBeUndefined();
    expect(found({ last_hidden_state: float("b", "s", "width") })).toBeUndefined();
    expect(found({ token_embeddings: float("b", "s", "width") })).toBeUndefined();
  });

  test("of exports: decoders have logits, encoders and classifiers have none", () => {
    const sizes = { vocabulary: 256 };
    expect(findLogits(llamaPlain(sizes).graph)?.name).toBe("logits");
    expect(findLogits(llamaFused(sizes).graph)?.name).toBe("logits");
    expect(findLogits(bertPlain(sizes).graph)).toBeUndefined();
    expect(findLogits(bertFused({ ...sizes, classes: 3 }).graph)).toBeUndefined();
  });
});

test("gatheredRows reads the tables of Gather and of fused embeddings", () => {
  const { graph } = bertFused({ vocabulary: 99 });
  expect(gatheredRows(graph, "input_ids")).toBe(99);
  expect(gatheredRows(graph, "token_type_ids")).toBe(2);
  expect(gatheredRows(graph, "attention_mask")).toBeUndefined();
  expect(gatheredRows(bertPlain({ vocabulary: 98 }).graph, "input_ids")).toBe(98);
});
