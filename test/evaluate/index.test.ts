/** Quality numbers against plain arithmetic on outputs that were fetched from both models. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  loadTokenizer,
  openDataset,
  plainProtocol,
  textDataset,
} from "../../src/calibrate/index.ts";
import type { Dataset } from "../../src/core/dataset.ts";
import { parseFormat } from "../../src/core/format.ts";
import { defaultQuantizeOptions } from "../../src/core/method.ts";
import { dequantize } from "../../src/core/quantized.ts";
import {
  chooseLoss,
  evaluateModels,
  type LanguageQuality,
  lossOf,
  measureModels,
  type OutputQuality,
} from "../../src/evaluate/index.ts";
import { languageLoss } from "../../src/evaluate/language-loss.ts";
import { findLayers } from "../../src/layers/index.ts";
import { type Model, openModel } from "../../src/onnx/index.ts";
import { quantizeWeight } from "../../src/quantize/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import {
  datasetOf,
  floatFeed,
  floats,
  intFeed,
  normals,
  numbersOf,
  toyPerceptron,
  toyTransformer,
  withWeight,
} from "../support/toy-models.ts";

const root = join(import.meta.dirname, "../..");
const tinyLm = join(root, "calibration/tiny-lm");
const stories = join(root, "../shared/models/stories260k");

const one = createRuntime({ threads: 1 });
const two = createRuntime({ threads: 2 });
afterAll(() => Promise.all([one.close(), two.close()]));

/** The model with some layers rounded to a width. */
async function rounded(model: Model, format: string, every = 1): Promise<Model> {
  let result = model;
  for (const [i, layer] of findLayers(model.graph).layers.entries()) {
    if (i % every !== 0) continue;
    const input = {
      weight: await layer.readWeight(),
      format: parseFormat(format),
      stats: { layer: layer.id, tokens: 0 } as never,
      options: { ...defaultQuantizeOptions, grid: "min-max" as const },
    };
    const stored = layer.toStored(dequantize(await quantizeWeight(input, "rtn")));
    result = withWeight(result, layer.weight, stored);
  }
  return result;
}

async function outputsOf(model: Model, dataset: Dataset, name: string): Promise<number[][]> {
  const session = await one.open(model);
  const all: number[][] = [];
  for (let i = 0; i < dataset.batches; i++) {
    const results = await session.run((await dataset.batch(i)).feeds, [name]);
    all.push(numbersOf(results[name]));
  }
  await session.release();
  return all;
}

/** log-probabilities of one token's logits, float64. */
function logSoftmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0)) + top;
  return logits.map((logit) => logit - total);
}

interface Token {
  readonly kl: number;
  readonly nll: number;
  readonly floatNll: number;
  readonly agrees: boolean;
}

/** Scored tokens of both models, from their logits. */
async function tokensOf(float: Model, model: Model, dataset: Dataset): Promise<Token[]> {
  const [p, q] = [
    await outputsOf(float, dataset, "logits"),
    await outputsOf(model, dataset, "logits"),
  ];
  const tokens: Token[] = [];
  for (let b = 0; b < dataset.batches; b++) {
    const { windows = [] } = await dataset.batch(b);
    const length = windows[0].ids.length - 1;
    const vocabulary = p[b].length / (windows.length * length);
    for (const [w, { ids, scoreFrom }] of windows.entries()) {
      for (let t = scoreFrom; t < length; t++) {
        const start = (w * length + t) * vocabulary;
        const [lp, lq] = [p, q].map((all) => logSoftmax(all[b].slice(start, start + vocabulary)));
        tokens.push({
          kl: lp.reduce((sum, value, v) => sum + Math.exp(value) * (value - lq[v]), 0),
          nll: -lq[ids[t + 1]],
          floatNll: -lp[ids[t + 1]],
          agrees: lp.indexOf(Math.max(...lp)) === lq.indexOf(Math.max(...lq)),
        });
      }
    }
  }
  return tokens;
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

describe("language models", () => {
  /** Overlapping windows, so that only part of each is scored. */
  const protocol = { ...plainProtocol(24, 0), name: "test", stride: 16 };

  test.each([
    ["tiny-lm", undefined],
    ["a toy in float16", "float16" as const],
    ["a toy at opset 11", "float32" as const],
  ])("%s: every number equals plain arithmetic on the logits", async (_name, toy) => {
    const float = toy
      ? toyTransformer({ dtype: toy, opset: toy === "float16" ? 18 : 11 })
      : await openModel(join(tinyLm, "model.onnx"));
    const quantized = await rounded(float, toy ? "int3-b16" : "int3-b32");
    const dataset = toy
      ? await openDataset({ graph: float.graph, rows: 5, window: 9, batchSize: 2 })
      : await openDataset({
          graph: float.graph,
          path: join(tinyLm, "evaluation.txt"),
          protocol,
          rows: 5,
          batchSize: 2,
        });
    expect(dataset.batches).toBe(3);
    const loss = chooseLoss(float.graph, dataset);
    const [quality] = (await evaluateModels({
      float,
      quantized: [quantized],
      dataset,
      loss,
      runtime: one,
    })) as LanguageQuality[];
    const tokens = await tokensOf(float, quantized, dataset);
    expect(quality).toMatchObject({ kind: "language", windows: 5, tokens: tokens.length });
    expect(tokens.length).toBe(toy ? 5 * 9 : 24 + 4 * 16);
    // Logits of float16 graphs are hauled out in float16, while the loss sees them before that rounding.
    const digits = toy === "float16" ? 2 : 5;
    const kl = mean(tokens.map((token) => token.kl));
    const nll = mean(tokens.map((token) => token.nll));
    const floatNll = mean(tokens.map((token) => token.floatNll));
    expect(kl).toBeGreaterThan(0.01);
    expect(quality.klDivergence.value).toBeCloseTo(kl, digits);
    expect(lossOf(quality)).toBe(quality.klDivergence.value);
    expect(Math.log(quality.perplexity.quantized.value)).toBeCloseTo(nll, digits);
    expect(Math.log(quality.perplexity.float.value)).toBeCloseTo(floatNll, digits);
    expect(quality.nllIncrease.value).toBeCloseTo(nll - floatNll, digits);
    const sorted = tokens.map((token) => token.kl).sort((a, b) => a - b);
    expect(quality.klDivergence999.value).toBeCloseTo(sorted[sorted.length - 1], digits - 1);
    if (toy !== "float16")
      expect(quality.topAgreement.value).toBe(mean(tokens.map(({ agrees }) => (agrees ? 1 : 0))));
    for (const { value, low, high } of [
      quality.klDivergence,
      quality.nllIncrease,
      quality.perplexity.float,
      quality.topAgreement,
    ]) {
      expect(low).toBeLessThanOrEqual(value);
      expect(high).toBeGreaterThanOrEqual(value);
    }
  });

  test("several candidates at once, with one worker and with two: the same numbers", async () => {
    const float = toyTransformer();
    const quantized = [
      float,
      ...(await Promise.all(["int2-b16", "int8-b16"].map((f) => rounded(float, f)))),
    ];
    const dataset = await openDataset({ graph: float.graph, rows: 6, window: 8, batchSize: 2 });
    const loss = chooseLoss(float.graph, dataset);
    const common = { float, dataset, loss };
    const together = await evaluateModels({ ...common, quantized, runtime: two });
    expect(await evaluateModels({ ...common, quantized, runtime: one })).toEqual(together);
    for (const [i, model] of quantized.entries()) {
      const alone = await evaluateModels({ ...common, quantized: [model], runtime: two });
      expect(alone).toEqual([together[i]]);
    }
    const losses = together.map(lossOf);
    expect(Math.abs(losses[0])).toBeLessThan(1e-6);
    expect(losses[1]).toBeGreaterThan(losses[2]);
    expect(together[0]).toMatchObject({ topAgreement: { value: 1, low: 1, high: 1 } });
  });

  test("stops when the signal fires", async () => {
    const float = toyTransformer();
    const dataset = await openDataset({ graph: float.graph, rows: 6, window: 8, batchSize: 2 });
    const controller = new AbortController();
    const seen: number[] = [];
    const work = evaluateModels({
      float,
      quantized: [float],
      dataset,
      loss: chooseLoss(float.graph, dataset),
      runtime: two,
      signal: controller.signal,
      onEvent(event) {
        if (event.type === "progress") seen.push(event.done);
        controller.abort();
      },
    });
    await expect(work).rejects.toMatchObject({ code: "aborted" });
    expect(seen).toEqual([1]);
  });
});

describe("published perplexities of the float models", () => {
  async function perplexity(model: Model, dataset: Dataset): Promise<number> {
    const loss = chooseLoss(model.graph, dataset);
    const options = { float: model, quantized: [model], dataset, loss, runtime: two };
    const [quality] = (await evaluateModels(options)) as LanguageQuality[];
    expect(quality.windows).toBe(120);
    return quality.perplexity.float.value;
  }

  test("tiny-lm, first 120 windows of 256, id 0 in front: 13.46", async () => {
    const model = await openModel(join(tinyLm, "model.onnx"));
    const dataset = await openDataset({
      graph: model.graph,
      path: join(tinyLm, "evaluation.txt"),
      window: 256,
      bos: 0,
      rows: 120,
    });
    expect(await perplexity(model, dataset)).toBeCloseTo(13.4593, 3);
  });

  const reason = existsSync(stories) ? "" : " (skipped: ../shared/models/stories260k is missing)";
  test.skipIf(reason !== "")(`stories260k, second half of its text: 6.62${reason}`, async () => {
    const model = await openModel(join(stories, "model.onnx"));
    const text = await readFile(join(stories, "text.txt"), "utf8");
    const characters = [...text];
    const half = characters.slice(Math.floor(characters.length / 2)).join("");
    const dataset = textDataset(half, {
      graph: model.graph,
      tokenizer: await loadTokenizer(join(stories, "tokenizer.json")),
      protocol: plainProtocol(256),
      rows: 120,
      label: "second half",
    });
    expect(await perplexity(model, dataset)).toBeCloseTo(6.62, 2);
  });
});

describe("other models", () => {
  const float = toyPerceptron();
  const data = datasetOf(
    [3, 1, 2].map((rows, i) => ({ x: floatFeed(normals(rows * 16, i), [rows, 16]) })),
  );

  test("SQNR and cosine of every float output over all data, integers left out", async () => {
    const builder = graph()
      .input("x", "float32", ["rows", 16])
      .output("y", "float32", ["rows", 8])
      .output("top", "int64")
      .output("positive", "float16");
    floats(builder, "w", [16, 8], normals(128, 1));
    const model = builder
      .node("MatMul", ["x", "w"], ["y"], {}, "layer")
      .node("ArgMax", ["y"], ["top"])
      .node("Relu", ["y"], ["r"])
      .node("Cast", ["r"], ["positive"], { to: { type: "int", value: 10 } })
      .model();
    const worse = await rounded(model, "int3-b16");
    const loss = chooseLoss(model.graph, data);
    expect(loss.kind).toBe("outputs");
    const options = { float: model, quantized: [worse, model], dataset: data, loss, runtime: two };
    const [quality, same] = (await evaluateModels(options)) as OutputQuality[];
    expect(quality.samples).toBe(3);
    expect(quality.outputs.map(({ name }) => name)).toEqual(["y", "positive"]);
    let relative = 0;
    for (const { name, sqnrDb, cosine } of quality.outputs) {
      const [y, z] = [
        (await outputsOf(model, data, name)).flat(),
        (await outputsOf(worse, data, name)).flat(),
      ];
      const power = mean(y.map((v) => v * v));
      const own = mean(z.map((v) => v * v));
      const error = mean(y.map((v, i) => (v - z[i]) ** 2));
      const digits = name === "y" ? 4 : 1;
      expect(sqnrDb).toBeCloseTo(10 * Math.log10(power / error), digits);
      expect(cosine).toBeCloseTo(mean(y.map((v, i) => v * z[i])) / Math.sqrt(power * own), digits);
      relative += error / power;
    }
    expect(lossOf(quality)).toBeCloseTo(relative, 3);
    expect(same.outputs).toEqual(
      [
        { name: "y", sqnrDb: Number.POSITIVE_INFINITY, cosine: 1 },
        { name: "positive", sqnrDb: Number.POSITIVE_INFINITY, cosine: 1 },
      ].map((output) => ({ ...output, cosine: expect.closeTo(1, 6) })),
    );
    expect(lossOf(same)).toBe(0);
  });

  test("one worker or two, the same numbers", async () => {
    const quantized = [await rounded(float, "int2-b16"), await rounded(float, "int4-b16")];
    const common = { float, quantized, dataset: data, loss: chooseLoss(float.graph, data) };
    const results = await evaluateModels({ ...common, runtime: one });
    expect(await evaluateModels({ ...common, runtime: two })).toEqual(results);
    expect(lossOf(results[0])).toBeGreaterThan(lossOf(results[1]));
  });

  test("an output that is zero in both models is exact; one that stops being zero is not", async () => {
    const zero = (value: number) =>
      graph()
        .input("x", "float32", ["rows", 16])
        .output("y", "float32", ["rows", 16])
        .initializer("f", [1], Float32Array.of(value))
        .node("Mul", ["x", "f"], ["y"])
        .model();
    const quantized = [zero(0), zero(1)];
    const loss = chooseLoss(zero(0).graph, data);
    const options = { float: zero(0), quantized, dataset: data, loss, runtime: one };
    const [same, other] = (await evaluateModels(options)) as OutputQuality[];
    expect(same.outputs).toEqual([{ name: "y", sqnrDb: Number.POSITIVE_INFINITY, cosine: 1 }]);
    expect(lossOf(same)).toBe(0);
    expect(other.outputs).toEqual([{ name: "y", sqnrDb: Number.NEGATIVE_INFINITY, cosine: 0 }]);
    expect(lossOf(other)).toBe(Number.POSITIVE_INFINITY);
  });

  test("a model that computes NaN is an error, not exact; measureModels tells it as NaN", async () => {
    const scaled = (value: number) =>
      graph()
        .input("x", "float32", ["rows", 16])
        .output("y", "float32", ["rows", 16])
        .initializer("f", [1], Float32Array.of(value))
        .node("Mul", ["x", "f"], ["y"])
        .model();
    const [float, broken] = [scaled(1), scaled(Number.NaN)];
    const loss = chooseLoss(float.graph, data);
    const common = { float, dataset: data, loss, runtime: one };
    const quantized = [float, broken];
    await expect(evaluateModels({ ...common, quantized })).rejects.toMatchObject({
      code: "numeric",
      message: expect.stringContaining('output "y"'),
    });
    expect((await measureModels({ ...common, quantized })).map(lossOf)).toEqual([0, Number.NaN]);
    const overflowing = scaled(Number.POSITIVE_INFINITY);
    await expect(evaluateModels({ ...common, quantized: [overflowing] })).rejects.toMatchObject({
      code: "numeric",
    });
  });

  test("a language model that computes NaN is an error", async () => {
    const model = toyTransformer();
    const layer = findLayers(model.graph).layers.at(-1);
    if (!layer) throw new Error("no layer");
    const weight = await layer.readWeight();
    const stored = layer.toStored({ ...weight, data: weight.data.map(() => Number.NaN) });
    const dataset = await openDataset({ graph: model.graph, rows: 2, window: 8, batchSize: 2 });
    const loss = chooseLoss(model.graph, dataset);
    const common = { dataset, loss, runtime: one };
    const broken = withWeight(model, layer.weight, stored);
    await expect(
      evaluateModels({ ...common, float: model, quantized: [broken] }),
    ).rejects.toMatchObject({ code: "numeric", detail: { layer: "the quantized model" } });
    await expect(
      evaluateModels({ ...common, float: broken, quantized: [model] }),
    ).rejects.toMatchObject({ code: "numeric", detail: { layer: "the float model" } });
  });

  test("a graph without float outputs has nothing to compare", () => {
    const model = graph()
      .input("x", "float32", [2])
      .output("i", "int64")
      .node("ArgMax", ["x"], ["i"]);
    expect(() => chooseLoss(model.model().graph, data)).toThrow(/no float output/);
  });
});

describe("in bounded memory", () => {
  test("segments give the numbers of whole models", async () => {
    const float = await openModel(join(tinyLm, "model.onnx"));
    const tokenizer = await loadTokenizer(join(tinyLm, "tokenizer.json"));
    const text = await readFile(join(tinyLm, "evaluation.txt"), "utf8");
    const dataset = textDataset(text.slice(0, 8000), {
      graph: float.graph,
      tokenizer,
      protocol: plainProtocol(64),
      rows: 8,
      label: "text",
    });
    const quantized = [await rounded(float, "int4-b32-asym"), await rounded(float, "int8-b32")];
    const loss = chooseLoss(float.graph, dataset);
    const measured = (memoryLimitBytes: number) =>
      evaluateModels({ float, quantized, dataset, loss, runtime: two, memoryLimitBytes });
    const whole = (await measured(1e9)) as LanguageQuality[];
    const cut = (await measured(1e6)) as LanguageQuality[];
    for (const [i, quality] of whole.entries()) {
      const { perplexity, klDivergence, topAgreement } = cut[i];
      expect(perplexity.float.value).toBeCloseTo(quality.perplexity.float.value, 3);
      expect(perplexity.quantized.value).toBeCloseTo(quality.perplexity.quantized.value, 3);
      expect(klDivergence.value).toBeCloseTo(quality.klDivergence.value, 5);
      expect(topAgreement.value).toBeCloseTo(quality.topAgreement.value, 2);
    }
  });

  test("logits of large vocabularies are compared in slices, token by token the same", async () => {
    const vocabulary = 2 ** 20;
    const table = (seed: number) => {
      const builder = graph()
        .input("input_ids", "int64", ["batch", "sequence"])
        .output("logits", "float32", ["batch", "sequence", vocabulary]);
      floats(builder, "table", [3, vocabulary], normals(3 * vocabulary, seed));
      // The table has fewer rows than the vocabulary, which the ids must not give away.
      builder.node("Abs", ["input_ids"], ["rows"], {}, "rows");
      return builder.node("Gather", ["table", "rows"], ["logits"], {}, "embed").model();
    };
    const [float, other] = [table(1), table(2)];
    const ids = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0, 2, 2, 0, 1, 0, 0, 1, 2, 1, 0];
    const feeds = { input_ids: intFeed(ids, [1, 20]) };
    const results = async (tokens: number) => {
      const loss = languageLoss(float.graph, tokens);
      const reference = loss.reference(float);
      const compared = loss.compare(other, true);
      const [first, second] = [await one.open(reference.model), await one.open(compared.model)];
      const given = (await first.run(feeds))[reference.outputs[0]];
      const targets = intFeed(
        ids.map((id) => (id * 7919) % vocabulary),
        [1, 20],
      );
      const all = await second.run(
        { ...feeds, bitloom_reference: given, bitloom_targets: targets },
        compared.results,
      );
      await Promise.all([first.release(), second.release()]);
      return { nodes: compared.model.graph.nodes.length, all };
    };
    // Eight tokens are the least slice; a window that is longer than was said belongs to the last slice.
    const plain = await results(3);
    for (const tokens of [20, 17]) {
      const sliced = await results(tokens);
      expect(sliced.nodes).toBeGreaterThan(plain.nodes);
      for (const name of ["kl", "agree", "nll", "referenceNll"]) {
        expect(sliced.all[name].shape).toEqual([1, 20]);
        expect(sliced.all[name].data).toEqual(plain.all[name].data);
      }
    }
  });
});
