/** Statistics of convolutions against explicit unfolding in plain JavaScript. */
import { afterAll, describe, expect, test } from "vitest";
import { calibrate, statistics } from "../../src/calibrate/index.ts";
import { maxUnfoldedElements } from "../../src/calibrate/unfold.ts";
import type { Feeds } from "../../src/core/feeds.ts";
import type { StatName } from "../../src/core/stats.ts";
import { roundToFloat16 } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute, editModel, type Model, memoryTensor } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { referenceHessian } from "../support/reference.ts";
import { referenceConv, referenceRows } from "../support/reference-conv.ts";
import { columnsOf, type ToyConv, toyConvModel, toyConvs } from "../support/toy-convs.ts";
import { datasetOf, floatFeed, normals, type ToyFloat } from "../support/toy-models.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());

const everything = Object.keys(statistics) as StatName[];

async function collect(model: Model, feeds: readonly Feeds[], needs = everything) {
  const { layers } = findLayers(model.graph);
  const stats = await calibrate({
    model,
    layers,
    blocks: [],
    dataset: datasetOf(feeds),
    needs,
    runtime,
  });
  const [entry] = stats.values();
  return { layer: layers[0], entry };
}

const closeTo = (got: ArrayLike<number> | undefined, expected: ArrayLike<number>, bound = 1e-5) => {
  const all = Array.from(expected);
  const scale = Math.max(...all.map(Math.abs));
  expect(got?.length).toBe(all.length);
  const worst = Math.max(...all.map((value, i) => Math.abs((got?.[i] ?? Number.NaN) - value)));
  expect(worst).toBeLessThanOrEqual(bound * scale);
};

/** Two batches, of other sizes wherever the window allows it. */
function batchesOf({ shape }: ToyConv) {
  const [batch, channels, ...sizes] = shape;
  const shapes = [shape, [batch + 1, channels, ...sizes.map((size, a) => size + a)]];
  // Explicit pads are the same for all sizes; SAME pads are not, and are given for `shape` alone.
  return shapes.map((each, i) => ({
    shape: each,
    x: normals(
      each.reduce((a, b) => a * b, 1),
      i + 1,
    ),
  }));
}

const cases: readonly (readonly [opset: number, dtype: ToyFloat])[] = [
  [9, "float32"],
  [11, "float32"],
  [13, "float16"],
  [18, "float32"],
  [21, "float32"],
];

describe.each(cases)("opset %i, %s", (opset, dtype) => {
  test.each(toyConvs)("$name: every statistic by its definition", async (conv) => {
    const model = toyConvModel(conv, { opset, dtype });
    const isSame = conv.autoPad?.startsWith("SAME");
    const batches = batchesOf(conv).slice(0, isSame ? 1 : 2);
    const feeds = batches.map(({ x, shape }) => ({ x: floatFeed(x, shape, dtype) }));
    const { layer, entry } = await collect(model, feeds);
    const k = columnsOf(conv);
    expect(layer).toMatchObject({ n: conv.outputs, k, groups: conv.window.groups });
    const weight = (await layer.readWeight()).data;
    const values = batches.map(({ x }) => [...floatNumbers(x, dtype)]);
    const unfolded = batches.map(({ shape }, i) => referenceRows(values[i], shape, conv.window));
    const tokens = unfolded.reduce((sum, { count }) => sum + count, 0);
    expect(entry.tokens).toBe(tokens);
    const groups = Array.from({ length: conv.window.groups }, (_, g) =>
      unfolded.flatMap((rows) => rows.groups[g]),
    );
    closeTo(
      entry.hessian,
      groups.flatMap((rows) => [...referenceHessian(rows, tokens, k)]),
    );
    const columns = (of: (column: readonly number[]) => number) =>
      groups.flatMap((rows) =>
        Array.from({ length: k }, (_, j) => of(rows.filter((_value, i) => i % k === j))),
      );
    closeTo(
      entry.absMax,
      columns((column) => Math.max(...column.map(Math.abs))),
    );
    closeTo(
      entry.meanSquare,
      columns((column) => squareSum(column) / tokens),
    );
    const power = batches.reduce(
      (sum, { shape }, i) =>
        sum + squareSum(referenceConv(values[i], shape, weight, conv.outputs, conv.window)),
      0,
    );
    closeTo([entry.outputPower as number], [power / tokens], dtype === "float16" ? 4e-3 : 1e-5);
    expect(entry.rowFrequency).toBeUndefined();
  });
});

const squareSum = (values: ArrayLike<number>) =>
  Array.from(values).reduce((sum, value) => sum + value * value, 0);

/** What the graph sees of a feed. */
const floatNumbers = (x: Float32Array, dtype: ToyFloat) =>
  dtype === "float32" ? x : x.map(roundToFloat16);

test("above the limit every second position of each axis is measured", async () => {
  const size = 2400;
  expect(size * size * 3).toBeGreaterThan(maxUnfoldedElements);
  expect((size * size * 3) / 4).toBeLessThan(maxUnfoldedElements);
  const conv: ToyConv = {
    name: "large",
    shape: [1, 1, size, size],
    outputs: 1,
    window: { groups: 1, kernel: [1, 3], strides: [1, 1], dilations: [1, 1], pads: [0, 1, 0, 1] },
  };
  const x = normals(size * size, 1);
  const { layer, entry } = await collect(toyConvModel(conv), [{ x: floatFeed(x, conv.shape) }]);
  expect(entry.tokens).toBe((size / 2) ** 2);
  const weight = (await layer.readWeight()).data;
  const hessian = new Float64Array(9);
  let power = 0;
  for (let row = 0; row < size; row += 2) {
    for (let column = 0; column < size; column += 2) {
      const at = row * size + column;
      const read = [column > 0 ? x[at - 1] : 0, x[at], column + 1 < size ? x[at + 1] : 0];
      power += (read[0] * weight[0] + read[1] * weight[1] + read[2] * weight[2]) ** 2;
      for (let i = 0; i < 9; i++) {
        hessian[i] += (2 / entry.tokens) * read[Math.floor(i / 3)] * read[i % 3];
      }
    }
  }
  // Float32 sums over 1.4 million rows.
  closeTo(entry.hessian, hessian, 1e-4);
  closeTo([entry.outputPower as number], [power / entry.tokens], 1e-4);
});

test("convolutions that read one value through the same window share its Hessian", async () => {
  const conv = toyConvs[0];
  const editor = editModel(toyConvModel(conv));
  const [{ attributes }] = editor.model.graph.nodes;
  editor.addInitializer(memoryTensor("v", "float32", [2, 3, 3, 3], normals(54, 9)));
  const common = { opType: "Conv", inputs: ["x", "v"] };
  const narrow = { kernel_shape: attribute.ints([3, 3]) };
  editor.addNodes([
    { ...common, name: "same", outputs: ["z"], attributes: Object.fromEntries(attributes) },
  ]);
  editor.addInitializer(memoryTensor("u", "float32", [2, 3, 3, 3], normals(54, 8)));
  editor.addNodes([
    { ...common, name: "other", inputs: ["x", "u"], outputs: ["a"], attributes: narrow },
  ]);
  for (const name of ["z", "a"]) {
    editor.addOutput({ name, dtype: "float32", shape: undefined });
  }
  const model = editor.commit();
  const { layers } = findLayers(model.graph);
  const x = floatFeed(normals(2 * 3 * 7 * 9, 1), conv.shape);
  const dataset = datasetOf([{ x }]);
  const options = { model, layers, blocks: [], dataset, needs: ["hessian"], runtime } as const;
  const stats = await calibrate(options);
  expect(stats.get("same")?.hessian).toBe(stats.get("conv")?.hessian);
  expect(stats.get("other")?.tokens).toBe(2 * 5 * 7);
  expect(stats.get("other")?.hessian).not.toEqual(stats.get("conv")?.hessian);
});
