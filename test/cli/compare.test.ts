import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quick, run, scratch, tinyLm } from "../support/command.ts";

const folder = scratch();
afterAll(folder.remove);

const model = join(tinyLm, "model.onnx");
const [a, b] = [folder.at("a.json"), folder.at("b.json")];

beforeAll(async () => {
  for (const [name, budget] of [
    ["a", "5bpw"],
    ["b", "6bpw"],
  ]) {
    const { code, stderr } = await run([
      ...[model, ...quick, "--scorer", "output-error", "--budget", budget, "--one-shot"],
      ...["-o", folder.at(`${name}.onnx`), "--quiet"],
      ...["--report", folder.at(`${name}.html`), "--report", folder.at(`${name}.json`)],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  }
});

test("--report writes a page and JSON, each as its name ends, with the command as it was typed", async () => {
  const report = JSON.parse(await readFile(a, "utf8"));
  expect(report.commandLine).toMatch(/^quantize .*model\.onnx .*--budget 5bpw --one-shot -o /);
  const page = await readFile(folder.at("a.html"), "utf8");
  expect(page).toMatch(/^<!doctype html>/);
  expect(page).toContain("model.onnx at 5.00 bits per weight");
  expect(page).toContain("--budget 5bpw");
});

describe("quantize compare", () => {
  test("prints both runs, what changed and what may be said of it", async () => {
    const { code, stdout, stderr } = await run(["compare", a, b]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const part of [
      /^ +A +B +B against A$/m,
      /^bits per weight +5\.0000 +6\.0000 +\+20\.0%$/m,
      /^perplexity, quantized +[\d.]+ \([\d.]+ to [\d.]+\) +[\d.]+ \(/m,
      /^layer +format, A +format, B +bytes, B - A +SQNR, A +SQNR, B$/m,
      /int4-b32 +int8-b32 +\+[\d,]+ +[\d.]+ dB +[\d.]+ dB$/m,
      /^A +.*a\.onnx$/m,
      /^Formats +\d+ of 36 layers differ$/m,
      /^Quality +\S/m,
      /^Options +budget differ$/m,
    ]) {
      expect(stdout).toMatch(part);
    }
  });

  test("--html writes a page, --json prints one document, nothing is replaced without --force", async () => {
    const html = folder.at("compare.html");
    const first = await run(["compare", a, b, "--html", html, "--json"]);
    expect(first.code).toBe(0);
    expect(JSON.parse(first.stdout)).toMatchObject({
      version: 1,
      command: "compare",
      layers: 36,
      a: { bitsPerWeight: 5, quality: { kind: "language" } },
      quality: { comparable: true },
      options: { budget: { a: "5bpw", b: "6bpw" } },
    });
    const page = await readFile(html, "utf8");
    expect(page).toContain("model.onnx: 5.00 and 6.00 bits per weight");
    const again = await run(["compare", a, b, "--html", html]);
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toMatch(/exists already\. Pass --force/);
    expect((await run(["compare", a, b, "--html", html, "--force"])).code).toBe(0);
    expect(await readFile(html, "utf8")).toBe(page);
    expect((await run(["compare", a, b, "--html", a, "--force"])).stderr).toMatch(/is an input/);
  });

  test("what is no report, of another version or of another model is refused", async () => {
    const report = JSON.parse(await readFile(a, "utf8"));
    const refused = async (document: unknown, message: RegExp) => {
      await writeFile(folder.at("bad.json"), JSON.stringify(document));
      const { code, stdout, stderr } = await run(["compare", a, folder.at("bad.json")]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toMatch(/^error: /);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    };
    await refused({ ...report, version: 2 }, /expected version 1, got 2/);
    await refused({ ...report, command: "evaluate" }, /got that of "evaluate"/);
    const other = { ...report.model, sha256: "0".repeat(64), path: "other.onnx" };
    await refused({ ...report, model: other }, /different models: expected the same sha256/);
    const missing = await run(["compare", a, folder.at("none.json")]);
    expect(missing).toMatchObject({ code: 2, stdout: "" });
    expect(missing.stderr).toMatch(/Cannot read ".*none\.json": expected a readable file/);
  });
});
