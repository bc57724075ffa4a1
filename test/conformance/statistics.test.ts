/**
 * Every registered statistic against its definition in float64, from activations that the same graph hands out: over
 * opsets whose operators have different signatures, element types, batches of unequal size and numbers of workers.
 */
import { afterAll, describe, expect, test } from "vitest";
import { calibrate, statistics } from "../../src/calibrate/index.ts";
import type { Layer } from "../../src/core/layer.ts";
import type { Block, LayerStats, StatName, StatValues } from "../../src/core/stats.ts";
import { findBlocks, findLayers } from "../../src/layers/index.ts";
import type { Model } from "../../src/onnx/index.ts";
import { createRuntime, type WorkerRuntime } from "../../src/runtime/index.ts";
import { referenceHessian } from "../support/reference.ts";
import {
  datasetOf,
  exposing,
  intFeed,
  numbersOf,
  type ToyFloat,
  toySizes,
  toyTransformer,
} from "../support/toy-models.ts";

const one = createRuntime({ threads: 1 });
const two = createRuntime({ threads: 2 });
afterAll(() => Promise.all([one.close(), two.close()]));

const names = Object.keys(statistics) as StatName[];

/** Unequal sizes, and indices that count from the end. */
const dataset = datasetOf([
  { input_ids: intFeed([1, 2, 3, 4, 5, 6], [2, 3]) },
  { input_ids: intFeed([7, -1, 7, 9], [1, 4]) },
  { input_ids: intFeed([0, 11, 7, 3, -24, 23, 12, 13], [4, 2]) },
]);

/** All rows of a graph value over the data set, and its width. */
type Values = ReadonlyMap<string, number[]>;

async function valuesOf(model: Model, wanted: readonly string[]): Promise<Values> {
  const session = await one.open(exposing(model, wanted), { optimize: "none" });
  const values = new Map(wanted.map((name) => [name, [] as number[]]));
  for (let i = 0; i < dataset.batches; i++) {
    const { feeds } = await dataset.batch(i);
    const results = { ...(await session.run(feeds)), ...feeds };
    for (const name of wanted) values.get(name)?.push(...numbersOf(results[name]));
  }
  await session.release();
  return values;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

interface Facts {
  readonly layer: Layer;
  readonly block: Block | undefined;
  /** X [T, K], row-major; empty for a pure table. */
  readonly x: readonly number[];
  readonly ids: readonly number[];
  readonly output: readonly number[];
  readonly blockEnds: readonly (readonly number[])[];
}

/** Each statistic by its definition; undefined where it does not apply. */
const references: { readonly [S in StatName]: (facts: Facts) => StatValues[S] | undefined } = {
  absMax({ layer: { k }, x }) {
    if (x.length === 0) return undefined;
    return Float32Array.from({ length: k }, (_, j) =>
      Math.max(...x.filter((_value, i) => i % k === j).map(Math.abs)),
    );
  },
  meanSquare({ layer: { k }, x }) {
    if (x.length === 0) return undefined;
    return Float64Array.from(
      { length: k },
      (_, j) => sum(x.filter((_value, i) => i % k === j).map((v) => v * v)) / (x.length / k),
    );
  },
  hessian: ({ layer: { k }, x }) =>
    x.length === 0 ? undefined : referenceHessian(x, x.length / k, k),
  rowFrequency({ layer, ids }) {
    if (!layer.opType.includes("Gather")) return undefined;
    const rows = ids.map((id) => (id < 0 ? id + layer.n : id));
    return Float64Array.from(
      { length: layer.n },
      (_, n) => rows.filter((row) => row === n).length / rows.length,
    );
  },
  outputPower: ({ layer: { k }, x, output }) =>
    x.length === 0 ? undefined : sum(output.map((v) => v * v)) / (x.length / k),
  blockCosine({ block, blockEnds: [input, output] }) {
    if (!block) return undefined;
    const dot = sum(input.map((v, i) => v * output[i]));
    return dot / Math.sqrt(sum(input.map((v) => v * v)) * sum(output.map((v) => v * v)));
  },
};

async function measured(model: Model, runtime: WorkerRuntime, needs: readonly StatName[]) {
  const { layers } = findLayers(model.graph);
  const blocks = findBlocks(model.graph, layers);
  const stats = await calibrate({ model, layers, blocks, dataset, needs, runtime });
  return { layers, blocks, stats };
}

async function factsOf(model: Model, layers: readonly Layer[], blocks: readonly Block[]) {
  const products = layers.flatMap(({ uses }) => uses.filter((use) => use.opType !== "Gather"));
  const wanted = [
    "input_ids",
    ...products.flatMap((use) => [use.activation, use.output]),
    ...blocks.flatMap(({ input, output }) => [input, output]),
  ];
  const values = await valuesOf(model, [...new Set(wanted)]);
  const read = (name: string) => values.get(name) ?? [];
  return layers.map((layer): Facts => {
    const uses = layer.uses.filter((use) => use.opType !== "Gather");
    const block = blocks.find((candidate) => candidate.layers.includes(layer.id));
    return {
      layer,
      block,
      x: uses.flatMap((use) => read(use.activation)),
      output: uses.flatMap((use) => read(use.output)),
      ids: read("input_ids"),
      blockEnds: block ? [read(block.input), read(block.output)] : [[], []],
    };
  });
}

/** Inside optimised float16 graphs ONNX Runtime keeps some values in float32, so activations differ by a rounding. */
const tolerance = { float32: 1e-5, float16: 4e-3 };

function expectClose(
  got: StatValues[StatName] | undefined,
  expected: typeof got,
  relative: number,
): void {
  if (expected === undefined || got === undefined) {
    expect(got).toBe(expected);
    return;
  }
  const [a, b] = [got, expected].map((value) => (typeof value === "number" ? [value] : [...value]));
  expect(a.length).toBe(b.length);
  const scale = Math.max(...b.map(Math.abs));
  const worst = Math.max(...a.map((value, i) => Math.abs(value - b[i])));
  expect(worst).toBeLessThanOrEqual(relative * scale);
}

const cases: readonly (readonly [opset: number, dtype: ToyFloat, tied: boolean])[] = [
  [11, "float32", false],
  [13, "float32", true],
  [13, "float16", false],
  [18, "float32", false],
  [18, "float16", true],
  [21, "float32", true],
];

describe.each(cases)("opset %i, %s, tied head %s", (opset, dtype, tied) => {
  const model = toyTransformer({ opset, dtype, tied });

  test.each(names)("%s equals its definition, whatever the number of workers", async (name) => {
    const { layers, blocks, stats } = await measured(model, one, [name]);
    expect(blocks.length).toBe(toySizes.blocks);
    let applied = 0;
    for (const facts of await factsOf(model, layers, blocks)) {
      const entry = stats.get(facts.layer.id) as LayerStats;
      expectClose(entry[name], references[name](facts), tolerance[dtype]);
      applied += entry[name] === undefined ? 0 : 1;
      expect(entry.tokens).toBe(18);
      expect(Object.keys(entry).sort()).toEqual(["layer", "tokens", name].sort());
    }
    expect(applied).toBeGreaterThan(0);
    const parallel = await measured(model, two, [name]);
    expect(parallel.stats).toEqual(stats);
  });
});
