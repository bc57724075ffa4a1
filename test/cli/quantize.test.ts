import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openModel, saveModel } from "../../src/onnx/index.ts";
import { type Finished, quick, run, scratch, tinyLm } from "../support/command.ts";
import { saveSmallDecoder, smallData } from "../support/small-decoder.ts";

const folder = scratch();
afterAll(folder.remove);

const model = join(tinyLm, "model.onnx");
const bytesOf = (name: string) => readFile(folder.at(name));

describe("quantize MODEL on a language model", () => {
  let first: Finished;
  // biome-ignore lint/suspicious/noExplicitAny: any document
  let report: any;
  const args = [model, ...quick, "--scorer", "output-error", "--budget", "5bpw"];
  const oneShot = [...args, "--one-shot"];

  beforeAll(async () => {
    const files = ["--save-plan", folder.at("plan.json"), "--report", folder.at("report.json")];
    first = await run([...args, "-o", folder.at("a.onnx"), "--json", "--threads", "1", ...files]);
    report = JSON.parse(first.stdout);
  });

  test("--json prints one document with every promised field, progress goes to stderr", () => {
    expect(first.code).toBe(0);
    expect(report).toMatchObject({
      version: 1,
      command: "quantize",
      model: { path: model, bytes: expect.any(Number) },
      output: { path: folder.at("a.onnx"), bytes: expect.any(Number) },
      budgetBytes: expect.any(Number),
      weightBytes: expect.any(Number),
      bitsPerWeight: expect.any(Number),
      quality: {
        perplexity: { float: expect.any(Number), quantized: expect.any(Number) },
        klDivergence: expect.any(Number),
        topAgreement: expect.any(Number),
        protocol: expect.stringContaining("windows of 256"),
      },
      notices: expect.any(Array),
      timings: { score: expect.any(Number), evaluate: expect.any(Number) },
    });
    expect(report.layers).toHaveLength(36);
    for (const layer of report.layers) {
      expect(layer).toMatchObject({
        name: expect.any(String),
        opType: expect.any(String),
        format: expect.stringMatching(/^int[48]-b32$/),
        bits: expect.any(Number),
        bytes: expect.any(Number),
        loss: expect.any(Number),
        sqnrDb: expect.any(Number),
      });
    }
    for (const node of report.skipped) {
      expect(node).toMatchObject({ name: expect.any(String), reason: expect.any(String) });
    }
    expect(first.stderr).toContain("score layers");
  });

  test("sizes are those of the file, and inside the budget", async () => {
    expect(report.output.bytes).toBe((await bytesOf("a.onnx")).length);
    expect(report.model.bytes).toBe((await readFile(model)).length);
    expect(report.weightBytes).toBeLessThanOrEqual(report.budgetBytes);
    expect(report.bitsPerWeight).toBeLessThanOrEqual(5);
    const sum = report.layers.reduce((total: number, { bytes }: { bytes: number }) => {
      return total + bytes;
    }, 0);
    expect(sum).toBe(report.weightBytes);
  });

  test("--report and --save-plan write what was printed", async () => {
    expect(JSON.parse(await readFile(folder.at("report.json"), "utf8"))).toEqual(report);
    const plan = JSON.parse(await readFile(folder.at("plan.json"), "utf8"));
    expect(plan.layers.map(({ format }: { format: string }) => format)).toEqual(
      report.layers.map(({ format }: { format: string }) => format),
    );
  });

  test("the same run on two threads gives the same bytes, as text with everything in it", async () => {
    const { code, stdout } = await run([...args, "-o", folder.at("b.onnx"), "--threads", "2"]);
    expect(code).toBe(0);
    expect(await bytesOf("b.onnx")).toEqual(await bytesOf("a.onnx"));
    for (const part of [
      /^layer +format +bits +bytes +loss +SQNR$/m,
      /\/model\/embed_tokens\/Gather +int[48]-b32 +[48] +[\d,]+ +\S+ +[\d.]+ dB/,
      /^Formats +\d+ × int/m,
      /^Plan +(mixed precision|uniform bits) wins? .* against /m,
      /perplexity, float +[\d.]+ +\[[\d.]+, [\d.]+\]/,
      /KL divergence +\S+ +\[\S+, \S+\] nats per token/,
      /top-1 agreement +[\d.]+%/,
      /^Protocol +windows of 256 predictions, stride 256, BOS/m,
      /^Measured on +8 held-out windows/m,
      /32\.00 -> 5\.0000 bits each/,
      /^File +4,594,851 bytes \(4\.6 MB\) -> [\d,]+ bytes/m,
      /budget 696,320 bytes/,
      /^Left in float +12 nodes/m,
      /^Time +/m,
    ]) {
      expect(stdout).toMatch(part);
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: looks for escape codes
    expect(stdout).not.toMatch(/\x1b/);
  });

  test("--quiet leaves standard error empty", async () => {
    const { code, stderr } = await run([...oneShot, "-o", folder.at("q.onnx"), "--quiet"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test("an existing output stays unless --force is given", async () => {
    await writeFile(folder.at("mine.onnx"), "mine");
    const refused = await run([...oneShot, "-o", folder.at("mine.onnx")]);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^error: .*mine\.onnx" exists already\. Pass --force/m);
    expect(await readFile(folder.at("mine.onnx"), "utf8")).toBe("mine");
    expect((await run([...oneShot, "-o", folder.at("mine.onnx"), "--force"])).code).toBe(0);
    expect(await bytesOf("mine.onnx")).toEqual(await bytesOf("q.onnx"));
  });

  test("inputs that no option names are never replaced", async () => {
    await saveModel(await openModel(model), folder.at("ext.onnx"), { externalData: "always" });
    await copyFile(join(tinyLm, "tokenizer.json"), folder.at("tokenizer.json"));
    const before = await bytesOf("ext.onnx.data");
    const start = [folder.at("ext.onnx"), ...oneShot.slice(1), "--force", "-o"];
    for (const side of ["ext.onnx.data", "tokenizer.json", "x.onnx.data"]) {
      const refused = await run([...start, folder.at("x.onnx"), "--save-plan", folder.at(side)]);
      expect(refused).toMatchObject({ code: 1, stdout: "" });
      expect(refused.stderr).toMatch(/is an input of this run|is named for two outputs/);
    }
    const output = await run([...start, folder.at("ext.onnx.data")]);
    expect(output.stderr).toMatch(/is an input of this run/);
    expect(await bytesOf("ext.onnx.data")).toEqual(before);
    expect(folder.files()).not.toContain("x.onnx");
  });

  test("a missed quality bound exits with 3 and writes nothing", async () => {
    for (const bound of [
      ["--max-kl", "1e-6"],
      ["--max-perplexity-increase", "0.001%"],
    ]) {
      const missed = await run([...oneShot, "-o", folder.at("bound.onnx"), "--json", ...bound]);
      expect(missed.code).toBe(3);
      const { error } = JSON.parse(missed.stdout);
      expect(error).toMatchObject({
        code: "quality-missed",
        detail: { limit: expect.any(Number) },
      });
      expect(error.detail.got).toBeGreaterThan(error.detail.limit);
      expect(folder.files()).not.toContain("bound.onnx");
    }
    const met = await run([...oneShot, "-o", folder.at("bound.onnx"), "--max-kl", "10"]);
    expect(met.code).toBe(0);
  });
});

describe("verb by verb", () => {
  const method = ["--scorer", "output-error"];
  const data = quick.filter((word, i) => word !== "--formats" && quick[i - 1] !== "--formats");
  const stats = () => ["--stats", folder.at("stats")];

  test("calibrate, score, plan, apply give the bytes of the whole job at once", async () => {
    expect(
      (await run(["calibrate", model, ...data, ...method, "-o", folder.at("stats")])).code,
    ).toBe(0);
    const scores = folder.at("scores.json");
    const scored = await run(["score", model, ...quick, ...method, ...stats(), "-o", scores]);
    expect(scored).toMatchObject({ code: 0 });
    const planArgs = ["plan", "--scores", scores, "--budget", "5bpw"];
    const planned = await run([...planArgs, "-o", folder.at("plan2.json"), "--json"]);
    expect(JSON.parse(planned.stdout)).toMatchObject({ command: "plan", budgetBytes: 696_320 });
    expect(await bytesOf("plan2.json")).toEqual(await bytesOf("plan.json"));
    // The plan names its quantizer and target.
    const own = data.filter((word) => word !== "--quantizer" && word !== "rtn");
    const applyArgs = ["apply", model, ...own, "--plan", folder.at("plan2.json")];
    const applied = await run([...applyArgs, "-o", folder.at("c.onnx"), "--json"]);
    expect(JSON.parse(applied.stdout)).toMatchObject({ command: "apply", gate: null });
    expect(await bytesOf("c.onnx")).toEqual(await bytesOf("a.onnx"));
  });

  test("plan solves for other budgets and pins, and never exceeds the file size", async () => {
    const planned = await run([
      ...["plan", "--scores", folder.at("scores.json"), "--budget", "25%", "--json"],
      ...["--pin", "*embed*=int8-b32", "--pin", "*layers.0*q_proj*=float32"],
    ]);
    const document = JSON.parse(planned.stdout);
    expect(document.layers[0]).toMatchObject({ format: "int8-b32" });
    expect(document.layers[1]).toMatchObject({ format: "float32" });
    expect(document.weightBytes).toBeLessThanOrEqual(document.budgetBytes);
    const whole = await run([
      ...["plan", "--scores", folder.at("scores.json"), "--budget", "25%"],
      ...["-o", folder.at("share.json")],
    ]);
    expect(whole.code).toBe(0);
    const applyArgs = ["apply", model, ...data, "--one-shot", "--plan", folder.at("share.json")];
    expect((await run([...applyArgs, "-o", folder.at("share.onnx")])).code).toBe(0);
    expect((await openModel(folder.at("share.onnx"))).fileBytes).toBeLessThanOrEqual(
      0.25 * (await openModel(model)).fileBytes,
    );
  });

  test("a planned file budget is kept by the real file, whatever widths are mixed", async () => {
    const scores = folder.at("wide.json");
    const cheap = ["-s", "weight-error", "-q", "rtn", "--rows", "4", "--evaluate-rows", "4"];
    const offer = ["-f", "int2-b32,int3-b32,int4-b32-asym,int5-b32,int8-b32"];
    expect((await run(["score", model, ...cheap, ...offer, "-o", scores])).code).toBe(0);
    for (const share of ["12%", "20%"]) {
      const name = folder.at(`wide-${share}`);
      const planned = await run(["plan", "--scores", scores, "-b", share, "-o", `${name}.json`]);
      expect(planned).toMatchObject({ code: 0 });
      const applied = await run([
        ...["apply", model, "--one-shot", "--rows", "4", "--evaluate-rows", "4"],
        ...["--plan", `${name}.json`, "-o", `${name}.onnx`, "--json"],
      ]);
      const { output } = JSON.parse(applied.stdout);
      expect(output.bytes).toBeLessThanOrEqual((Number.parseInt(share, 10) / 100) * 4_594_851);
    }
  });

  test("a plan brings its settings of the quantizer along", async () => {
    const small = folder.at("small.onnx");
    await saveSmallDecoder(small);
    const settings = [
      ...[...smallData, ...method, "-q", "rtn", "-f", "int4-b32,int8-b32", "-b", "5bpw"],
      ...["--grid", "min-max", "--correction", "qep", "--correction-damping", "0.01"],
      ...["--save-plan", folder.at("grid.json")],
    ];
    expect((await run([small, ...settings, "-o", folder.at("g.onnx")])).code).toBe(0);
    const apply = ["apply", small, ...smallData, "--plan", folder.at("grid.json")];
    expect((await run([...apply, "-o", folder.at("g2.onnx")])).code).toBe(0);
    expect(await bytesOf("g2.onnx")).toEqual(await bytesOf("g.onnx"));
    const over = ["--grid", "mse", "-o", folder.at("g3.onnx")];
    expect((await run([...apply, ...over])).code).toBe(0);
    expect(await bytesOf("g3.onnx")).not.toEqual(await bytesOf("g.onnx"));
  });

  test("a plan edited beyond its budget is applied, evaluation on calibration data too, both said", async () => {
    const plan = JSON.parse(await readFile(folder.at("plan.json"), "utf8"));
    plan.layers[0].format = "float32";
    await writeFile(folder.at("over.json"), JSON.stringify(plan));
    const same = ["--evaluate", join(tinyLm, "calibration.txt")];
    const { code, stdout } = await run([
      ...["apply", model, ...data, ...same, "--plan", folder.at("over.json"), "--json"],
      ...["-o", folder.at("over.onnx"), "--one-shot"],
    ]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    const codes = report.notices.map((notice: { code: string }) => notice.code);
    expect(codes).toEqual(
      expect.arrayContaining(["plan-over-budget", "evaluation-is-calibration"]),
    );
    expect(report.budgetBytes).toBe(plan.budgetBytes);
    expect(report.weightBytes).toBeGreaterThan(plan.budgetBytes);
  });

  test("statistics of other data are refused", async () => {
    const stale = await run([
      ...["score", model, ...quick, "--rows", "9", ...method, ...stats()],
      ...["-o", folder.at("stale.json")],
    ]);
    expect(stale).toMatchObject({ code: 2, stdout: "" });
    expect(stale.stderr).toMatch(/error: The statistics are stale: expected 9 samples/);
    expect(folder.files()).not.toContain("stale.json");
  });

  test("evaluate compares two files by a named protocol", async () => {
    const evaluated = await run([
      ...["evaluate", model, folder.at("a.onnx"), "--evaluate", join(tinyLm, "evaluation.txt")],
      ...["--protocol", "llama.cpp-512", "--evaluate-rows", "4"],
    ]);
    expect(evaluated.code).toBe(0);
    expect(evaluated.stdout).toMatch(/perplexity, quantized +[\d.]+ +\[/);
    expect(evaluated.stdout).toMatch(/KL, 99\.9th percentile +\S+ +\[/);
    expect(evaluated.stdout).toMatch(
      /Protocol +windows of 511 predictions, stride 512, BOS .* in each window/,
    );
  });

  test("inspect needs no data", async () => {
    const { code, stdout } = await run(["inspect", model, "--json"]);
    expect(code).toBe(0);
    const inspection = JSON.parse(stdout);
    expect(inspection).toMatchObject({ version: 1, command: "inspect", weights: 1_114_112 });
    expect(inspection.blocks).toHaveLength(5);
    expect(inspection.layers[0]).toMatchObject({ opType: "Gather+MatMul", shape: [1024, 128] });
    const { smallest, largest } = inspection.budgetRange;
    expect(smallest.bitsPerWeight).toBeCloseTo(2.125, 3);
    expect(largest.filePercent).toBeLessThan(35);
  });
});
