/**
 * Folders as Hugging Face exports leave them, through the command: quantized, evaluated, run on ONNX Runtime and in a
 * session. Random weights, real graph shapes; nothing but the files in the folder.
 */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Feeds } from "../../src/core/feeds.ts";
import { type Model, openModel } from "../../src/onnx/index.ts";
import { createRuntime, createSession } from "../../src/runtime/index.ts";
import { npyBytes } from "../calibrate/data/npy-bytes.ts";
import { type Finished, run } from "../support/command.ts";
import { type ExportFolder, type ExportOptions, writeExport } from "../support/exports/index.ts";
import { floatFeed, normals, numbersOf } from "../support/toy-models.ts";
import {
  bertFused,
  bertPlain,
  decoderFeeds,
  encoderFeeds,
  llamaFused,
  llamaMerged,
  llamaPlain,
  quantizedTransformer,
  vitPlain,
} from "../support/transformers/index.ts";

let folder: string;
const runtime = createRuntime();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-exports-"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const make = (name: string, options: ExportOptions) => writeExport(join(folder, name), options);
const vocabulary = 256;

/** Options that keep a run short: few samples, two formats. */
const short = ["--rows", "6", "--evaluate-rows", "6", "-f", "int4-b32,int8-b32", "--threads", "1"];
const words = ["-c", "text.txt", "--window", "48"];

function quantize(at: ExportFolder, ...args: string[]): Promise<Finished> {
  return run(["model.onnx", "-o", "small.onnx", "-b", "5.5bpw", ...short, ...args, "--json"], {
    cwd: at.at("."),
  });
}

/** The document of a run that has to succeed. */
async function succeeded(finished: Promise<Finished>) {
  const { code, stdout, stderr } = await finished;
  expect({ code, error: code === 0 ? "" : stdout + stderr }).toEqual({ code: 0, error: "" });
  return JSON.parse(stdout);
}

interface Case {
  readonly name: string;
  readonly options: ExportOptions;
  /** Layers that are quantized. */
  readonly layers: number;
  feeds(model: Model): Feeds;
  /** Relative error of a session against ONNX Runtime on the written file: float16 graphs round elsewhere. */
  readonly bound: number;
}

const causal = (name: string, layers: number, model: Model, bound = 1e-3): Case => ({
  name,
  options: { model, tokenizer: "causal" },
  layers,
  feeds: (written) => decoderFeeds(written, { batch: 2, sequence: 9 }),
  bound,
});
const encoder = (name: string, layers: number, model: Model): Case => ({
  name,
  options: { model, tokenizer: "encoder" },
  layers,
  feeds: (written) => encoderFeeds(written, { batch: 2, sequence: 9, lengths: [9, 5] }),
  bound: 1e-3,
});
const float16 = 2e-2;

const cases: readonly Case[] = [
  causal("a causal model without caches", 16, llamaPlain({ vocabulary, cache: false })),
  causal(
    "with caches and position ids, float16, as torch exports it",
    16,
    llamaPlain({ vocabulary, style: "eager", dtype: "float16" }),
    float16,
  ),
  causal(
    "with GroupQueryAttention, float16, without position ids",
    16,
    llamaFused({ vocabulary, dtype: "float16" }),
    float16,
  ),
  causal(
    "with norms of heads and RotaryEmbedding nodes, tied",
    15,
    llamaFused({ vocabulary, attention: "rotary-nodes", family: "qwen3", tied: true }),
  ),
  causal(
    "with some layers in MatMulNBits already",
    10,
    quantizedTransformer(llamaFused({ vocabulary }), { only: /mlp/ }).model,
  ),
  encoder("an encoder with token_type_ids", 15, bertPlain({ vocabulary })),
  encoder(
    "a classifier with fused operators",
    14,
    bertFused({ vocabulary, classes: 3, attention: "multi-head" }),
  ),
  encoder(
    "an encoder with Attention nodes, which keep their weights",
    6,
    bertFused({ vocabulary }),
  ),
];

describe.each(cases)("$name", ({ name, options, layers, feeds, bound }) => {
  let at: ExportFolder;
  beforeAll(async () => {
    at = await make(name, options);
  });

  test("quantize: within the budget, with the quality of its kind", async () => {
    const report = await succeeded(quantize(at, ...words));
    expect(report.layers).toHaveLength(layers);
    expect(report.bitsPerWeight).toBeLessThanOrEqual(5.5);
    expect(report.output.bytes).toBe((await stat(at.at("small.onnx"))).size);
    if (options.tokenizer === "causal") {
      expect(report.quality).toMatchObject({ kind: "language", windows: 6, tokens: 6 * 48 });
      expect(report.quality.klDivergence).toBeLessThan(0.05);
    } else {
      expect(report.quality.kind).toBe("outputs");
      for (const { sqnrDb } of report.quality.outputs) expect(sqnrDb).toBeGreaterThan(20);
      expect(report.quality.data).toMatch(/BOS as the tokenizer sets it in each window/);
    }
  });

  test("evaluate: the same files compared again", async () => {
    const args = ["evaluate", "model.onnx", "small.onnx", "-e", "text.txt", "--window", "48"];
    const more = ["--evaluate-rows", "4", "--json"];
    const { quality } = await succeeded(run([...args, ...more], { cwd: at.at(".") }));
    if (quality.kind === "language") expect(quality.topAgreement).toBeGreaterThan(0.5);
    else for (const { cosine } of quality.outputs) expect(cosine).toBeGreaterThan(0.99);
  });

  test(`ONNX Runtime and a session: the same outputs, relative error < ${bound}`, async () => {
    const model = await openModel(at.at("small.onnx"));
    expect(await sessionError(model, feeds(model))).toBeLessThan(bound);
  });
});

describe("a vision model", () => {
  test("random images get the size that config.json names", async () => {
    const at = await make("vit", { model: vitPlain(), config: { image_size: 32 } });
    const { notices, quality } = await succeeded(quantize(at));
    expect(notices.map(({ code }: { code: string }) => code)).toContain("synthetic-calibration");
    expect(quality.outputs[0].name).toBe("logits");
    const model = await openModel(at.at("small.onnx"));
    const pixel_values = floatFeed(normals(2 * 3 * 32 * 32, 5), [2, 3, 32, 32]);
    expect(await sessionError(model, { pixel_values })).toBeLessThan(1e-3);
  });

  test("an .npy array of images, a fixed batch of two", async () => {
    const at = await make("vit-fixed", { model: vitPlain({ batch: 2 }) });
    await writeFile(at.at("images.npy"), npy([24, 3, 32, 32]));
    const { quality } = await succeeded(quantize(at, "-c", "images.npy"));
    expect(quality.data).toMatch(/12 samples of \[2, 3, 32, 32\]/);
  });

  test("images of another size: the error says which size was fed", async () => {
    const at = await make("vit-size", { model: vitPlain() });
    await writeFile(at.at("images.npy"), npy([8, 3, 40, 40]));
    const { code, stdout } = await quantize(at, "-c", "images.npy");
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({
      code: "bad-data",
      message: expect.stringMatching(
        /fed "pixel_values" float32 \[1, 3, 40, 40\]: give data of the/,
      ),
    });
  });
});

describe("what needs other files or options says so", () => {
  const failure = async (at: ExportFolder, ...args: string[]) => {
    const { code, stdout } = await quantize(at, ...args);
    expect(code).toBe(1);
    return JSON.parse(stdout).error;
  };

  test("a merged decoder", async () => {
    const at = await make("merged", { model: llamaMerged({ vocabulary }), tokenizer: "causal" });
    expect(await failure(at, ...words)).toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/"use_cache_branch".*quantize decoder_model\.onnx/),
    });
  });

  test("windows longer than the positions of the model; the default fits the tokenizer", async () => {
    const at = await make("long", { model: bertPlain({ vocabulary }), tokenizer: "encoder" });
    const { message } = await failure(at, "-c", "text.txt", "--window", "128");
    expect(message).toMatch(/fed "input_ids" int64 \[\d, 128\].*smaller --window/);
    const { quality } = await succeeded(quantize(at, "-c", "text.txt"));
    expect(quality.data).toMatch(/windows of 64 predictions/);
  });

  test("a folder without a tokenizer, external data that is missing", async () => {
    const at = await make("bare", { model: llamaPlain({ vocabulary, cache: false }) });
    expect((await failure(at, ...words)).message).toMatch(/needs a tokenizer.*--tokenizer/);
    await rm(at.at("model.onnx_data"));
    expect((await failure(at, ...words)).message).toMatch(/model\.onnx_data.*no such file/);
  });

  test("a model that is quantized already", async () => {
    const { model } = quantizedTransformer(llamaFused({ vocabulary }));
    const at = await make("again", { model, tokenizer: "causal" });
    const { message } = await failure(at, ...words);
    expect(message).toMatch(/15 × MatMulNBits: its weight is already quantized/);
    expect(message).not.toMatch(/GroupQueryAttention/);
  });
});

test("the data file of an export has optimum's name", async () => {
  const at = await make("name", { model: bertPlain(), tokenizer: "encoder" });
  expect((await readFile(at.model)).includes("model.onnx_data")).toBe(true);
});

/** Greatest relative L2 error of an output of a session, against ONNX Runtime on the same file. */
async function sessionError(model: Model, feeds: Feeds): Promise<number> {
  const reference = await runtime.open(model);
  const expected = await reference.run(feeds);
  await reference.release();
  const session = await createSession(model, { precision: "exact", threads: 1 });
  const inputs = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
    name,
    { type: dtype, dims: shape, data },
  ]);
  const results = await session.run(Object.fromEntries(inputs));
  await session.release();
  const errors = Object.entries(expected).map(([name, tensor]) => {
    const { type, dims, data } = results[name];
    const y = numbersOf(tensor);
    const own = numbersOf({ dtype: type, shape: dims, data } as typeof tensor);
    expect(dims).toEqual(tensor.shape);
    const power = y.reduce((sum, value) => sum + value ** 2, 0);
    return Math.sqrt(y.reduce((sum, value, i) => sum + (value - own[i]) ** 2, 0) / power);
  });
  return Math.max(...errors);
}

/** Normal float32 numbers as numpy.save writes them. */
function npy(shape: readonly number[]): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1);
  return npyBytes("<f4", shape, normals(count, 3));
}
