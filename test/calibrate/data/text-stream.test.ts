import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodePrompt, loadTokenizer, streamText } from "../../../src/calibrate/index.ts";
import { openModel } from "../../../src/onnx/index.ts";
import { tinyLm } from "../../support/command.ts";

const tokenizer = await loadTokenizer(join(tinyLm, "tokenizer.json"));
const { graph } = await openModel(join(tinyLm, "model.onnx"));

function parts(prompt: string, ids: Int32Array): string[] {
  const stream = streamText(tokenizer, tokenizer.encode(prompt));
  return [...Array.from(ids, (id) => stream.push(id)), stream.end()];
}

describe("streamed text", () => {
  test("is the text, for any characters and any prompt", () => {
    const text = fc.string({ unit: "grapheme", minLength: 0, maxLength: 60 });
    fc.assert(
      fc.property(text, text, (prompt, next) => {
        fc.pre(!`${prompt}${next}`.includes("\uFFFD"));
        expect(parts(prompt, tokenizer.encode(next)).join("")).toBe(next);
      }),
    );
  });

  test("holds a character back until its last byte", () => {
    const ids = tokenizer.encode("§");
    expect(ids.length).toBeGreaterThan(1);
    expect(parts("a", ids)).toEqual([...Array(ids.length - 1).fill(""), "§", ""]);
  });

  test("shows at its end what never became a character", () => {
    const ids = tokenizer.encode("x§").slice(0, -1);
    expect(parts("a", ids).join("")).toBe("x\uFFFD");
  });
});

describe("prompts", () => {
  test("are encoded without what the tokenizer does not prepend", () => {
    const ids = encodePrompt("Fellow citizens", { tokenizer, graph });
    expect(tokenizer.decode(ids)).toBe("Fellow citizens");
    const led = encodePrompt("Fellow citizens", { tokenizer, graph, bos: 0 });
    expect([...led]).toEqual([0, ...ids]);
  });

  test("that are empty need a BOS", () => {
    expect([...encodePrompt("", { tokenizer, graph, bos: 0 })]).toEqual([0]);
    expect(() => encodePrompt("", { tokenizer, graph })).toThrow(/text of the prompt is empty/);
  });

  test("with ids beyond the model's vocabulary are refused", () => {
    const foreign = { ...tokenizer, encode: () => Int32Array.of(5, 1024) };
    expect(() => encodePrompt("x", { tokenizer: foreign, graph })).toThrow(
      /Token 1024 at position 1 of the prompt is outside the model's vocabulary/,
    );
  });
});
