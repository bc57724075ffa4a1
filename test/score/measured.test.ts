/** The scorers that run the model, against runs of the whole model without any cutting. */
import { afterAll, describe, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import type { ScoreInput } from "../../src/core/score.ts";
import type { LayerStats } from "../../src/core/stats.ts";
import { toBfloat16Bits } from "../../src/core/tensor.ts";
import { chooseLoss, evaluateModels, lossOf } from "../../src/evaluate/index.ts";
import { attribute, type Model } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { createLossProbe, scoreLayers } from "../../src/score/index.ts";
import { graph } from "../support/graph-builder.ts";
import {
  datasetOf,
  floatFeed,
  floats,
  normals,
  numbersOf,
  toyPerceptron,
  toyTransformer,
  withWeight,
} from "../support/toy-models.ts";
import { bench, distance, randomData } from "./bench.ts";

const one = createRuntime({ threads: 1 });
const two = createRuntime({ threads: 2 });
afterAll(() => Promise.all([one.close(), two.close()]));

const models: readonly (readonly [string, Model, relative: number])[] = [
  ["a transformer", toyTransformer(), 1e-6],
  ["a tied head", toyTransformer({ tied: true, seed: 2 }), 1e-6],
  ["opset 11", toyTransformer({ opset: 11, seed: 3 }), 1e-6],
  // The suffix starts at float16 values that the whole graph, once optimised, keeps in float32.
  ["float16 weights", toyTransformer({ dtype: "float16", seed: 4 }), 0.02],
  // Optimised, the whole graph multiplies by weights cast in advance and packed: float32 sums in another order.
  ["bfloat16 weights behind Cast", bfloat16Perceptron(), 1e-5],
  ["a perceptron, one weight in a Constant node", toyPerceptron(), 1e-6],
];

describe.each(models)("measured-kl of %s", (_name, model, relative) => {
  const formats = ["int2-b16", "int3-b16"].map(parseFormat);

  test("equals the loss of the whole model with that one weight replaced", async () => {
    const dataset = (await randomData(model)).select([0, 1, 2]);
    const single = dataset.protocol ? dataset : dataset.select([0]);
    const { input } = await bench(model, two, { formats, dataset: single });
    const scores = await scoreLayers(input, "measured-kl");
    for (const { layer } of input.candidates) {
      const stored = await Promise.all(
        formats.map(async (format) => layer.toStored(await input.quantized(layer, format))),
      );
      const qualities = await evaluateModels({
        float: model,
        quantized: stored.map((tensor) => withWeight(model, layer.weight, tensor)),
        dataset: single,
        loss: chooseLoss(model.graph, single),
        runtime: one,
      });
      const [two2, three] = qualities.map(lossOf);
      const direct = [two2, Math.min(two2, three)];
      const got = scores.get(layer.id)?.losses ?? [];
      for (const [f, loss] of direct.entries()) {
        expect(loss).toBeGreaterThan(1e-6);
        expect(Math.abs(got[f] / loss - 1)).toBeLessThan(relative);
      }
    }
  });
});

/** x → bfloat16 weights behind a Cast to float32, as exporters write models stored in bfloat16. */
function bfloat16Perceptron(): Model {
  const bits = (count: number, seed: number) =>
    Uint16Array.from(normals(count, seed, 0.25), toBfloat16Bits);
  const to = { to: attribute.int(1) };
  return graph()
    .input("x", "float32", ["rows", 16])
    .output("y", "float32", ["rows", 8])
    .initializer("w1", [16, 32], bits(512, 1), "bfloat16")
    .initializer("w2", [32, 8], bits(256, 2), "bfloat16")
    .node("Cast", ["w1"], ["w1.float"], to)
    .node("Cast", ["w2"], ["w2.float"], to)
    .node("MatMul", ["x", "w1.float"], ["a"], {}, "first")
    .node("Relu", ["a"], ["b"])
    .node("MatMul", ["b", "w2.float"], ["y"], {}, "second")
    .model();
}

describe("layers that no calibration row reached", () => {
  test("cost their weight error at the price of the others, never nothing", async () => {
    const { input } = await bench(toyTransformer({ seed: 8 }), one);
    const { layer } = input.candidates[1];
    const unseen = { layer: layer.id, tokens: 0 } as LayerStats;
    const probe: ScoreInput["probe"] = async () => ({
      unit: "nats",
      measure: async (jobs) =>
        jobs.map((job) => job.candidates.map(() => (job.layer.id === layer.id ? 0 : 1))),
    });
    const stats = new Map([...input.stats, [layer.id, unseen]]);
    for (const scorer of ["output-error", "measured-kl"] as const) {
      const scores = await scoreLayers({ ...input, stats, probe }, scorer);
      const losses = scores.get(layer.id)?.losses ?? [];
      expect(losses.length).toBe(4);
      for (const [i, loss] of losses.entries()) {
        expect(loss).toBeGreaterThan(0);
        if (i > 0) expect(loss).toBeLessThan(losses[i - 1]);
      }
    }
  });
});

describe("measured-kl extrapolates", () => {
  const model = toyTransformer({ seed: 5 });

  /** Answers with made-up losses, and says which formats were asked for. */
  async function withFakes(ids: readonly string[], error: (id: string) => number) {
    const { input } = await bench(model, one, { formats: ids.map(parseFormat) });
    const candidate = input.candidates[1];
    const weight = await candidate.layer.readWeight();
    const asked: string[] = [];
    const fake: ScoreInput = {
      ...input,
      candidates: [candidate],
      // Ŵ = (1 + e)·W: the output error is e² times the output's own energy.
      quantized: async (_layer, format) => ({
        ...weight,
        data: weight.data.map((w) => w * (1 + error(format.id))),
      }),
      probe: async () => ({
        unit: "nats",
        async measure(jobs) {
          return Promise.all(
            jobs.map((job) =>
              Promise.all(
                job.candidates.map(async (make) => {
                  const { data } = await make();
                  const e = Math.sqrt(
                    distance(data, weight.data) /
                      distance(
                        weight.data,
                        weight.data.map(() => 0),
                      ),
                  );
                  asked.push(ids.find((id) => Math.abs(error(id) - e) < 1e-4) ?? "?");
                  return 5 * e;
                }),
              ),
            ),
          );
        },
      }),
    };
    const losses = (await scoreLayers(fake, "measured-kl")).get(candidate.layer.id)?.losses ?? [];
    return { losses, asked };
  }

  test("the middle format is measured, the others follow their output errors", async () => {
    const errors: Record<string, number> = { "int4-b16": 0.1, "int4-b32": 0.2, "int4-b64": 0.4 };
    const { losses, asked } = await withFakes(Object.keys(errors), (id) => errors[id]);
    expect(asked).toEqual(["int4-b32"]);
    expect(losses.map((loss) => Number(loss.toPrecision(4)))).toEqual([0.25, 1, 4]);
  });

  test("a single format per width is measured as it is", async () => {
    const errors: Record<string, number> = { "int3-b16": 0.3, "int4-b16": 0.1 };
    const { losses, asked } = await withFakes(Object.keys(errors), (id) => errors[id]);
    expect(asked.toSorted()).toEqual(["int3-b16", "int4-b16"]);
    expect(losses.map((loss) => Number(loss.toPrecision(4)))).toEqual([1.5, 0.5]);
  });

  test("an exact middle format: an inexact one of its width is measured instead", async () => {
    const errors: Record<string, number> = {
      "int4-b16": 0,
      "int4-b32": 0,
      "int4-b64": 0.4,
      "int8-b16": 0,
    };
    const { losses, asked } = await withFakes(Object.keys(errors), (id) => errors[id]);
    expect(asked).toContain("int4-b64");
    expect(losses.map((loss) => Number(loss.toPrecision(4)))).toEqual([0, 0, 2, 0]);
  });
});

describe("the probe", () => {
  const model = toyTransformer({ seed: 6 });

  test("gives the same losses with one worker and with two, and 0 for the float weight", async () => {
    const { input, dataset } = await bench(model, two);
    expect(dataset.batches).toBe(2);
    const jobs = input.candidates.map(({ layer }, i) => ({
      layer,
      candidates: [
        () => layer.readWeight(),
        ...(i % 2 === 0
          ? [async () => ({ ...(await layer.readWeight()), data: normals(layer.n * layer.k, i) })]
          : []),
      ],
    }));
    const common = { model, blocks: input.blocks, dataset, loss: chooseLoss(model.graph, dataset) };
    const results = [];
    for (const runtime of [one, two]) {
      const probe = await createLossProbe({ ...common, runtime });
      expect(probe.unit).toBe("nats per token");
      const done: string[] = [];
      results.push(await probe.measure(jobs, ({ id }) => done.push(id)));
      const asked = jobs.flatMap(({ layer, candidates }) => candidates.map(() => layer.id));
      expect(done.toSorted()).toEqual(asked.toSorted());
    }
    expect(results[1]).toEqual(results[0]);
    for (const [i, losses] of results[0].entries()) {
      expect(losses.length).toBe(jobs[i].candidates.length);
      expect(losses[0]).toBeLessThan(1e-6);
      if (losses.length > 1) expect(losses[1]).toBeGreaterThan(0.01);
    }
  });

  test("an error of a candidate ends the measurement with that error", async () => {
    const { input } = await bench(model, two);
    const probe = await input.probe();
    const jobs = input.candidates.map(({ layer }) => ({
      layer,
      candidates: [
        async () => {
          throw new Error(`cannot make ${layer.id}`);
        },
      ],
    }));
    await expect(probe.measure(jobs)).rejects.toThrow(/^cannot make/);
  });
});

test("tokens masked with −∞ add nothing to the KL divergence", async () => {
  const builder = graph()
    .input("input_ids", "int64", ["batch", "sequence"])
    .output("logits", "float32", ["batch", "sequence", 24]);
  floats(builder, "table", [24, 16], normals(24 * 16, 1));
  floats(builder, "w", [16, 24], normals(16 * 24, 2, 0.25));
  const mask = Float32Array.from({ length: 24 }, (_, v) => (v > 20 ? Number.NEGATIVE_INFINITY : 0));
  floats(builder, "mask", [24], mask);
  const model = builder
    .node("Gather", ["table", "input_ids"], ["x"], {}, "embed")
    .node("MatMul", ["x", "w"], ["free"], {}, "head")
    .node("Add", ["free", "mask"], ["logits"])
    .model();
  const { input } = await bench(model, one);
  for (const { losses } of (await scoreLayers(input, "measured-kl")).values())
    for (const loss of losses) expect(loss).toBeGreaterThan(0);
});

describe("hessian-trace", () => {
  const [vocabulary, width] = [12, 6];
  const table = normals(vocabulary * width, 1);
  const weight = normals(width * vocabulary, 2, 0.5);
  const builder = graph()
    .input("input_ids", "int64", ["batch", "sequence"])
    .output("logits", "float32", ["batch", "sequence", vocabulary]);
  floats(builder, "table", [vocabulary, width], table);
  floats(builder, "w", [width, vocabulary], weight);
  const model = builder
    .node("Gather", ["table", "input_ids"], ["x"], {}, "embed")
    .node("MatMul", ["x", "w"], ["logits"], {}, "head")
    .model();

  test("of softmax(W x): E‖x‖²·(1 − Σp²), within the sampling error of many draws", async () => {
    const { input, dataset } = await bench(model, two);
    let trace = 0;
    let tokens = 0;
    for (let b = 0; b < dataset.batches; b++) {
      for (const id of numbersOf((await dataset.batch(b)).feeds.input_ids)) {
        const x = Array.from(table.slice(id * width, (id + 1) * width));
        const logits = Array.from({ length: vocabulary }, (_, v) =>
          x.reduce((sum, value, k) => sum + value * weight[k * vocabulary + v], 0),
        );
        const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
        const squares = logits.reduce((sum, logit) => sum + (Math.exp(logit) / total) ** 2, 0);
        trace += x.reduce((sum, value) => sum + value * value, 0) * (1 - squares);
        tokens++;
      }
    }
    trace /= tokens;
    const head = input.candidates.filter(({ layer }) => layer.id === "head");
    const { layer, formats } = head[0];
    const error = distance(
      weight,
      layer.toStored(await input.rounded(layer, formats[0])).data as Float32Array,
    );
    const estimates: number[] = [];
    for (let seed = 0; seed < 60; seed++) {
      const scores = await scoreLayers({ ...input, candidates: head, seed }, "hessian-trace");
      const loss = scores.get("head")?.losses[0] ?? Number.NaN;
      estimates.push((2 * loss * vocabulary * width) / error);
    }
    const mean = estimates.reduce((sum, value) => sum + value, 0) / estimates.length;
    const variance =
      estimates.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (estimates.length - 1);
    const standardError = Math.sqrt(variance / estimates.length);
    expect(standardError).toBeLessThan(0.1 * trace);
    // 1 % for the step not being infinitely small.
    expect(Math.abs(mean - trace)).toBeLessThan(4 * standardError + 0.01 * trace);
  });

  test("both signs of each vector are used, and a layer of zeros costs nothing", async () => {
    const { input } = await bench(model, one);
    const head = input.candidates.filter(({ layer }) => layer.id === "head");
    const { layer } = head[0];
    const own = await layer.readWeight();
    const steps: Float32Array[] = [];
    const probe: ScoreInput["probe"] = async () => ({
      unit: "nats",
      async measure(jobs) {
        for (const make of jobs[0].candidates)
          steps.push((await make()).data.map((w, i) => w - own.data[i]));
        return [jobs[0].candidates.map(() => 1)];
      },
    });
    await scoreLayers({ ...input, candidates: head, probe }, "hessian-trace");
    expect(steps.length).toBe(4);
    const rms = Math.sqrt(
      distance(
        own.data,
        own.data.map(() => 0),
      ) / own.data.length,
    );
    for (const step of steps)
      for (const value of step) expect(Math.abs(value)).toBeCloseTo(0.02 * rms, 6);
    for (const pair of [0, 2]) {
      for (const [i, value] of steps[pair].entries())
        expect(steps[pair + 1][i]).toBeCloseTo(-value, 6);
    }
    expect(steps[2]).not.toEqual(steps[0]);
    const silent = { ...layer, readWeight: async () => ({ ...own, data: own.data.map(() => 0) }) };
    const zeros = [{ layer: silent, formats: head[0].formats }];
    const scores = await scoreLayers({ ...input, candidates: zeros }, "hessian-trace");
    expect(new Set(scores.get("head")?.losses)).toEqual(new Set([0]));
  });
});

test("floats of a data set without token windows are compared by relative squared error", async () => {
  const model = toyPerceptron(3);
  const dataset = datasetOf([
    { x: floatFeed(normals(48, 1), [3, 16]) },
    { x: floatFeed(normals(16, 2), [1, 16]) },
  ]);
  const { input } = await bench(model, one, { dataset });
  expect((await input.probe()).unit).toBe("relative squared error");
  const scores = await scoreLayers(input, "measured-kl");
  const { layer, formats } = input.candidates[0];
  const changed = withWeight(
    model,
    layer.weight,
    layer.toStored(await input.quantized(layer, formats[0])),
  );
  const [a, b] = await Promise.all([one.open(model), one.open(changed)]);
  let [error, power] = [0, 0];
  for (let i = 0; i < dataset.batches; i++) {
    const { feeds } = await dataset.batch(i);
    const y = numbersOf((await a.run(feeds)).y);
    const z = numbersOf((await b.run(feeds)).y);
    error += distance(y, z);
    power += distance(
      y,
      y.map(() => 0),
    );
  }
  expect(scores.get(layer.id)?.losses[0]).toBeCloseTo(error / power, 6);
});
