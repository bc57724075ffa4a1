/** Walking two streams through a graph, against whole models whose activations are all exposed. */
import { afterAll, describe, expect, test } from "vitest";
import { planStreams, type StreamGroup, walkStreams } from "../../src/calibrate/streams/index.ts";
import type { StreamGrams } from "../../src/core/correction.ts";
import type { Dataset } from "../../src/core/dataset.ts";
import type { FeedTensor } from "../../src/core/feeds.ts";
import type { Layer, LayerId } from "../../src/core/layer.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute, type Model } from "../../src/onnx/index.ts";
import { createRuntime, ValueStore } from "../../src/runtime/index.ts";
import { reachableBytes } from "../support/garbage.ts";
import { graph } from "../support/graph-builder.ts";
import {
  datasetOf,
  exposing,
  floatFeed,
  normals,
  numbersOf,
  toyTransformer,
  withWeight,
} from "../support/toy-models.ts";
import { decoderFeeds, llamaFused, llamaPlain } from "../support/transformers/index.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());

/** Coarse rounding, whatever the layer. */
const coarse = ({ rows, cols, data }: Matrix): Matrix => ({
  rows,
  cols,
  data: data.map((value) => Math.round(8 * value) / 8),
});

/** The model with some weights replaced. */
const withWeights = (model: Model, weights: ReadonlyMap<Layer, Matrix>): Model =>
  [...weights].reduce(
    (made, [layer, weight]) => withWeight(made, layer.weight, layer.toStored(weight)),
    model,
  );

/** Rows [T, K] of an activation in every batch. */
async function rowsOf(model: Model, value: string, dataset: Dataset): Promise<number[][]> {
  if (model.graph.inputs.some(({ name }) => name === value)) {
    const batches = Array.from({ length: dataset.batches }, (_, i) => dataset.batch(i));
    return (await Promise.all(batches)).map(({ feeds }) => numbersOf(feeds[value]));
  }
  const session = await runtime.open(exposing(model, [value]));
  const all: number[][] = [];
  for (let i = 0; i < dataset.batches; i++) {
    all.push(numbersOf((await session.run((await dataset.batch(i)).feeds, [value]))[value]));
  }
  await session.release();
  return all;
}

/** (2/T) Σ aᵀb over rows, a [T, n], b [T, k]. */
function products(a: readonly number[], n: number, b: readonly number[], k: number): Float64Array {
  const rows = a.length / n;
  const sum = new Float64Array(n * k);
  for (let t = 0; t < rows; t++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < k; j++) sum[i * k + j] += (2 / rows) * a[t * n + i] * b[t * k + j];
  return sum;
}

const gram = (a: readonly number[], b: readonly number[], k: number) => products(a, k, b, k);

function expectClose(got: Float64Array, wanted: Float64Array, scale: number, tolerance: number) {
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) worst = Math.max(worst, Math.abs(got[i] - wanted[i]));
  expect(got.length).toBe(wanted.length);
  expect(worst).toBeLessThanOrEqual(tolerance * scale);
}

const largest = (values: Float64Array) =>
  values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** Every group's statistics against those of whole models; returns the order of the layers. */
async function checkWalk(
  model: Model,
  dataset: Dataset,
  memoryLimitBytes: number,
  { tolerance = 2e-5, isRounded = (_: Layer): boolean => true } = {},
) {
  const layers = findLayers(model.graph).layers.filter(isRounded);
  const rounded = new Map<Layer, Matrix>();
  const order: string[] = [];
  const residuals = new Map(
    planStreams(model, layers).steps.map(({ layers, residual }) => [layers[0], residual]),
  );
  const checkResidual = async (layer: Layer, grams: StreamGrams, x: readonly number[]) => {
    const value = residuals.get(layer);
    expect(grams.residualDrift !== undefined).toBe(value !== undefined);
    if (value === undefined || !grams.residualDrift) return;
    const float = (await rowsOf(model, value, dataset)).flat();
    const now = (await rowsOf(withWeights(model, rounded), value, dataset)).flat();
    const difference = float.map((number, i) => number - now[i]);
    const wanted = products(difference, layer.n, x, layer.k);
    expectClose(
      grams.residualDrift,
      wanted,
      largest(products(now, layer.n, x, layer.k)),
      tolerance,
    );
  };
  const drifts = new Map<Layer, number | null>();
  const check = async ({ layers, measured, relativeDrift }: StreamGroup) => {
    const [layer] = layers;
    drifts.set(layer, relativeDrift);
    expect(relativeDrift === null).toBe(measured === undefined);
    if (measured) {
      const { activation } = layer.uses[0];
      const [x, y] = [
        await rowsOf(model, activation, dataset),
        await rowsOf(withWeights(model, rounded), activation, dataset),
      ];
      const parts = [
        [measured.grams, x.flat(), y.flat()],
        [
          measured.holdout,
          x.filter((_, i) => i % 3 === 2).flat(),
          y.filter((_, i) => i % 3 === 2).flat(),
        ],
      ] as const;
      for (const [grams, float, quantized] of parts) {
        if (!grams) {
          expect(dataset.batches).toBeLessThan(3);
          continue;
        }
        expect(grams.rows).toBe(quantized.length / layer.k);
        const hessian = gram(quantized, quantized, layer.k);
        const difference = float.map((value, i) => value - quantized[i]);
        expectClose(grams.hessian, hessian, largest(hessian), tolerance);
        expectClose(grams.drift, gram(difference, quantized, layer.k), largest(hessian), tolerance);
      }
      await checkResidual(layer, measured.grams, y.flat());
      const power = (values: readonly number[]) => values.reduce((sum, v) => sum + v * v, 0);
      const difference = x.flat().map((value, i) => value - y.flat()[i]);
      const wanted = power(difference) / power(x.flat());
      const error = Math.abs((relativeDrift ?? Number.NaN) - wanted);
      expect(error).toBeLessThanOrEqual(10 * tolerance * Math.max(1, wanted));
    }
    const result = new Map<LayerId, Matrix>();
    for (const one of layers) {
      order.push(one.id);
      const weight = coarse(await one.readWeight());
      result.set(one.id, weight);
      rounded.set(one, weight);
    }
    return result;
  };
  const options = { model, layers, dataset, runtime, memoryLimitBytes, isFinished: () => false };
  const needs = { needsHoldout: true, needsResidual: true };
  const summary = await walkStreams({ ...options, ...needs, round: check });
  // The same without Gram matrices.
  await walkStreams({
    ...options,
    ...needs,
    onlyDrift: true,
    async round({ layers, measured, relativeDrift }) {
      expect(measured).toBeUndefined();
      const before = drifts.get(layers[0]);
      if (typeof before === "number") expect(relativeDrift).toBeCloseTo(before, 6);
      else expect(relativeDrift).toBe(before);
      return new Map(layers.map((layer) => [layer.id, rounded.get(layer) as Matrix]));
    },
  });
  expect([...order].sort()).toEqual(layers.map(({ id }) => id).sort());
  return { order, summary };
}

const decoderData = (model: Model, batches: number) =>
  datasetOf(
    Array.from({ length: batches }, (_, seed) =>
      decoderFeeds(model, { batch: 2, sequence: 7, past: 0, seed: seed + 1 }),
    ),
  );

describe("what reaches each group is what whole models compute", () => {
  test.each([
    ["everything in memory", 1e9],
    ["everything in files", 0],
  ])("toy transformer, %s", async (_, limit) => {
    const model = toyTransformer();
    const [input] = model.graph.inputs;
    const feeds = Array.from({ length: 4 }, (_, seed) => ({
      [input.name]: feedOf(input.dtype, [1, 6], seed),
    }));
    const { summary } = await checkWalk(model, datasetOf(feeds), limit);
    expect(summary.peak.diskBytes > 0).toBe(limit === 0);
  });

  test.each([
    ["plain", () => llamaPlain(), 1e9],
    ["fused", () => llamaFused(), 1e9],
    ["fused, in files and blocks of columns", () => llamaFused(), 0],
    ["plain without cache", () => llamaPlain({ cache: false }), 1e9],
  ])("llama, %s", async (_, make, limit) => {
    const model = make();
    await checkWalk(model, decoderData(model, 2), limit);
  });

  test("norms of heads in front of an attention, and a layer behind it that stays in float", async () => {
    const model = llamaFused({ family: "qwen3" });
    const isRounded = ({ id }: Layer) => !/o_proj/.test(id);
    await checkWalk(model, decoderData(model, 2), 1e9, { isRounded });
  });

  test("llama in float16", async () => {
    const model = llamaFused({ dtype: "float16" });
    await checkWalk(model, decoderData(model, 3), 1e9, { tolerance: 4e-3 });
  });
});

const feedOf = (dtype: string | undefined, shape: number[], seed: number): FeedTensor =>
  dtype === "int64"
    ? {
        dtype,
        shape,
        data: BigInt64Array.from(normals(6, seed + 1), (x) => BigInt(Math.floor(Math.abs(3 * x)))),
      }
    : { dtype: "float32", shape, data: normals(shape[0] * shape[1], seed + 1) };

test("every node runs once: the steps of a plan share none", () => {
  const model = llamaPlain();
  const { layers } = findLayers(model.graph);
  const { steps } = planStreams(model, layers);
  const nodes = steps.flatMap(({ nodes }) => nodes.map(({ name }) => name));
  expect(new Set(nodes).size).toBe(nodes.length);
  const groups = steps.map(({ layers }) => layers.map(({ id }) => id.split("/").at(-2)).join());
  expect(groups.filter((group) => group === "q_proj,k_proj,v_proj").length).toBeGreaterThan(0);
});

test("the store gives back what it got, from memory and from files, and leaves none behind", async () => {
  const store = new ValueStore(100);
  const tensors: readonly FeedTensor[] = [
    { dtype: "float32", shape: [2, 3], data: normals(6, 1) },
    { dtype: "int64", shape: [20], data: BigInt64Array.from({ length: 20 }, (_, i) => BigInt(-i)) },
    { dtype: "float16", shape: [40], data: Uint16Array.from({ length: 40 }, (_, i) => i * 999) },
    { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) },
  ];
  for (const [i, tensor] of tensors.entries()) await store.put("float", i, "x", tensor);
  expect(store.peak.diskBytes).toBe(240);
  for (const [i, tensor] of tensors.entries()) {
    expect(await store.get("float", i, "x")).toEqual(tensor);
    await store.drop("float", i, "x");
  }
  await expect(store.get("float", 0, "x")).rejects.toThrow(/not kept/);
  await store.close();
});

test("values in files do not stay in memory", async () => {
  const store = new ValueStore(0);
  const before = reachableBytes();
  for (let i = 0; i < 20; i++) {
    const data = new Float32Array(2 ** 18).fill(i);
    await store.put("float", i, "x", { dtype: "float32", shape: [2 ** 18], data });
  }
  expect(reachableBytes() - before).toBeLessThan(4e6);
  expect((await store.get("float", 3, "x")).data[7]).toBe(3);
  await store.close();
});

test.each([
  ["plain", () => llamaPlain()],
  ["fused", () => llamaFused()],
])("layers that write to the residual stream know it: llama, %s", (_, make) => {
  const model = make();
  const { layers } = findLayers(model.graph);
  const { steps } = planStreams(model, layers);
  const writers = steps.flatMap(({ layers, residual }) => (residual === undefined ? [] : layers));
  const names = new Set(writers.map(({ id }) => id.split("/").at(-2)));
  expect([...names].sort()).toEqual(["down_proj", "o_proj"]);
  expect(writers.length).toBe(layers.filter(({ id }) => /o_proj|down_proj/.test(id)).length);
});

/** Layers "r" and "h" of one input each; what "y", the layer behind "h", gives is added to "r". */
function sideBySide(lastAttributes = {}): Model {
  const weight = (seed: number) => normals(64, seed);
  return graph()
    .input("z", "float32")
    .input("x", "float32")
    .initializer("r.weight", [8, 8], weight(1))
    .initializer("early.weight", [8, 8], weight(2))
    .initializer("h.weight", [8, 8], weight(3))
    .initializer("y.weight", [8, 8], weight(4))
    .node("MatMul", ["z", "r.weight"], ["r"])
    .node("MatMul", ["r", "early.weight"], ["early"])
    .node("MatMul", ["x", "h.weight"], ["h"])
    .node("alpha" in lastAttributes ? "Gemm" : "MatMul", ["h", "y.weight"], ["y"], lastAttributes)
    .node("Add", ["y", "r"], ["sum"])
    .output("early", "float32")
    .output("sum", "float32")
    .model();
}

/** What couples the drift of "r" with the input of "y", over one batch. */
async function residualDriftOf(x: FeedTensor, z: FeedTensor): Promise<Float64Array> {
  const model = sideBySide();
  let found: Float64Array | undefined;
  await walkStreams({
    model,
    layers: findLayers(model.graph).layers,
    dataset: datasetOf([{ x, z }]),
    runtime,
    memoryLimitBytes: 1e9,
    needsHoldout: false,
    needsResidual: true,
    isFinished: () => false,
    async round({ layers, measured }) {
      const [layer] = layers;
      if (layer.weight === "y.weight") found = measured?.grams.residualDrift;
      return new Map([[layer.id, coarse(await layer.readWeight())]]);
    },
  });
  return found ?? new Float64Array();
}

test.each([
  ["batches", [1, 3, 8], [1, 3, 8], [2, 3, 8]],
  ["rows", [2, 1, 8], [2, 1, 8], [2, 2, 8]],
  ["a further dimension", [3, 8], [3, 8], [2, 3, 8]],
] as const)(
  "an output that is repeated in the sum, %s: the mean of what each meets",
  async (_, shape, part, whole) => {
    const size = part.reduce<number>((product, length) => product * length, 1);
    const x = floatFeed(normals(size, 5), shape);
    const parts = [normals(size, 6), normals(size, 7)];
    const all = new Float32Array(2 * size);
    // Consecutive rows of 8 belong to the parts by turns where the middle dimension is the repeated one.
    const chunk = shape[1] === 1 ? 8 : size;
    for (let i = 0; i < all.length; i++) {
      const turn = Math.floor(i / chunk);
      all[i] = parts[turn % 2][Math.floor(turn / 2) * chunk + (i % chunk)];
    }
    const [one, other] = await Promise.all(
      parts.map((values) => residualDriftOf(x, floatFeed(values, part))),
    );
    const wanted = one.map((value, i) => (value + other[i]) / 2);
    expect(largest(wanted)).toBeGreaterThan(0);
    expectClose(await residualDriftOf(x, floatFeed(all, whole)), wanted, largest(wanted), 1e-5);
  },
);

test.each([
  [1, "r"],
  [0.5, undefined],
])("a Gemm with alpha %s: its residual is %s", (alpha, residual) => {
  const model = sideBySide({ alpha: attribute.float(alpha) });
  const { steps } = planStreams(model, findLayers(model.graph).layers);
  expect(steps.at(-1)?.residual).toBe(residual);
});
