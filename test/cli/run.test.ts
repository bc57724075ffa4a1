import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { run, scratch, tinyLm } from "../support/command.ts";

const folder = scratch();
afterAll(folder.remove);

const model = join(tinyLm, "model.onnx");
const prompt = ["--prompt", "Fellow citizens of the"];

describe("quantize run", () => {
  test("prints the new text alone, and the speed on standard error", async () => {
    const { code, stdout, stderr } = await run(["run", model, ...prompt, "-n", "8"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ \w+.*\n$/);
    expect(stderr).toMatch(/^Prompt +6 tokens, [\d.]+ tokens\/s$/m);
    expect(stderr).toMatch(/^Decode +8 tokens, [\d.]+ tokens\/s$/m);
  });

  test("prints the text while it comes", async () => {
    const pieces: number[] = [];
    const started = run(["run", model, ...prompt, "-n", "64"], {
      onOutput: (text) => void pieces.push(text.length),
    });
    expect((await started).code).toBe(0);
    expect(pieces.length).toBeGreaterThan(4);
  });

  test("--json is one document with the same text", async () => {
    const args = ["run", model, ...prompt, "-n", "8", "--quiet"];
    const [plain, json] = await Promise.all([run(args), run([...args, "--json"])]);
    expect(plain).toMatchObject({ code: 0, stderr: "" });
    const document = JSON.parse(json.stdout);
    expect(document).toMatchObject({
      version: 1,
      command: "run",
      prompt: prompt[1],
      temperature: 0,
      topK: null,
      end: "length",
      tokensPerSecond: { prompt: expect.any(Number), decode: expect.any(Number) },
    });
    expect(document.tokens).toHaveLength(8);
    expect(`${document.text}\n`).toBe(plain.stdout);
  });

  test("a seed draws the same text again, another one another text", async () => {
    const draw = (seed: string) =>
      run(["run", model, ...prompt, "--temperature", "1.5", "--top-k", "200", "--seed", seed]);
    const [one, again, other] = await Promise.all([draw("1"), draw("1"), draw("2")]);
    expect(one.code).toBe(0);
    expect(again.stdout).toBe(one.stdout);
    expect(other.stdout).not.toBe(one.stdout);
  });

  test("one token has no decode speed", async () => {
    const { stdout } = await run(["run", model, ...prompt, "-n", "1", "--json"]);
    expect(JSON.parse(stdout).tokensPerSecond.decode).toBeNull();
  });
});

describe("refuses", () => {
  const alone = folder.at("alone.onnx");
  copyFileSync(model, alone);
  const cases: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    ["no prompt", [model], 2, /Missing option --prompt <text>/],
    ["no tokens", [model, ...prompt, "-n", "0"], 2, /Expected a whole number from 1/],
    ["a negative temperature", [model, ...prompt, "--temperature", "-1"], 2, /above zero/],
    [
      "a probability above 1",
      [model, ...prompt, "--temperature", "1", "--top-p", "2"],
      2,
      /above 0, at most 1/,
    ],
    [
      "top-k without a temperature",
      [model, ...prompt, "--top-k", "5"],
      2,
      /--top-k does nothing at temperature 0/,
    ],
    [
      "an unknown precision",
      [model, ...prompt, "--precision", "half"],
      2,
      /Expected one of fast, exact/,
    ],
    ["an empty prompt", [model, "--prompt", ""], 1, /the prompt is empty/],
    ["no tokenizer", [alone, ...prompt], 1, /The prompt needs a tokenizer/],
    ["no model", [folder.at("none.onnx"), ...prompt], 1, /none.onnx/],
  ];
  test.each(cases)("%s", async (_, args, exit, message) => {
    const { code, stdout, stderr } = await run(["run", ...args, "--quiet"]);
    expect({ code, stdout }).toEqual({ code: exit, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});
