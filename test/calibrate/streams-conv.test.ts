/** Two streams through convolutions: the rows of both are unfolded alike, group by group. */
import { afterAll, expect, test } from "vitest";
import { walkStreams } from "../../src/calibrate/streams/index.ts";
import type { ConvWindow, Layer, LayerId } from "../../src/core/layer.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute, type Model } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import { referenceProduct, transpose } from "../support/reference.ts";
import { referenceRows } from "../support/reference-conv.ts";
import {
  datasetOf,
  exposing,
  floatFeed,
  floats,
  normals,
  numbersOf,
  withWeight,
} from "../support/toy-models.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());

/** x [batch, 4, h, w] → 3 × 3 over all channels, depthwise, two groups, pointwise. */
function stack(): Model {
  const builder = graph().input("x", "float32", ["batch", 4, "h", "w"]).output("y", "float32");
  let value = "x";
  const conv = (name: string, shape: readonly number[], group: number, pad: number) => {
    const seed = name.charCodeAt(0);
    floats(
      builder,
      `${name}.w`,
      shape,
      normals(
        shape.reduce((a, b) => a * b),
        seed,
        0.4,
      ),
    );
    const output = name === "d" ? "y" : `${name}.out`;
    builder.node(
      "Conv",
      [value, `${name}.w`],
      [name === "d" ? output : `${name}.sum`],
      { group: attribute.int(group), pads: attribute.ints([pad, pad, pad, pad]) },
      name,
    );
    if (name !== "d") builder.node("Relu", [`${name}.sum`], [output]);
    value = output;
  };
  conv("a", [6, 4, 3, 3], 1, 1);
  conv("b", [6, 1, 3, 3], 6, 1);
  conv("c", [8, 3, 3, 3], 2, 0);
  conv("d", [5, 8, 1, 1], 1, 0);
  return builder.model();
}

const inputShape = [2, 4, 7, 6];
const batches = [1, 2, 3].map((seed) =>
  normals(
    inputShape.reduce((a, b) => a * b),
    seed,
  ),
);
const dataset = datasetOf(batches.map((x) => ({ x: floatFeed(x, inputShape) })));

/** Rows of each group over all batches, in float64 from the activation of a whole model. */
async function rowsOf(model: Model, { uses: [use] }: Layer): Promise<number[][]> {
  const window = use.window as ConvWindow;
  if (typeof window.padding === "string") throw new Error("explicit pads were expected");
  const pads = [...window.padding.before, ...window.padding.after];
  const session = await runtime.open(exposing(model, [use.activation]));
  const groups: number[][] = Array.from({ length: window.groups }, () => []);
  for (const x of batches) {
    const feed = floatFeed(x, inputShape);
    const value = use.activation === "x" ? feed : (await session.run({ x: feed }))[use.activation];
    const rows = referenceRows(numbersOf(value), value.shape, { ...window, pads });
    for (const [g, own] of rows.groups.entries()) groups[g].push(...own);
  }
  await session.release();
  return groups;
}

const coarse = (weight: Matrix): Matrix => ({
  ...weight,
  data: weight.data.map((value) => Math.round(4 * value) / 4),
});

test("Hessians and drifts of every group, relative error < 2e-5", async () => {
  const model = stack();
  const { layers } = findLayers(model.graph);
  expect(layers.map(({ id, groups, k }) => [id, groups, k])).toEqual([
    ["a", 1, 36],
    ["b", 6, 9],
    ["c", 2, 27],
    ["d", 1, 8],
  ]);
  let rounded = model;
  const seen: LayerId[] = [];
  await walkStreams({
    model,
    layers,
    dataset,
    runtime,
    memoryLimitBytes: 1e9,
    needsHoldout: false,
    needsResidual: false,
    isFinished: () => false,
    async round({ layers: [layer], measured, relativeDrift }) {
      seen.push(layer.id);
      const { k } = layer;
      const [x, y] = [await rowsOf(model, layer), await rowsOf(rounded, layer)];
      const tokens = y[0].length / k;
      expect(measured?.grams.rows).toBe(tokens);
      const products = (of: (g: number, i: number) => number) =>
        y.flatMap((own, g) => {
          const left = own.map((_, i) => of(g, i));
          const sum = referenceProduct(transpose(left, tokens, k), own, k, tokens, k);
          return [...sum].map((v) => (2 / tokens) * v);
        });
      const hessian = products((g, i) => y[g][i]);
      const drift = products((g, i) => x[g][i] - y[g][i]);
      const scale = Math.max(...hessian.map(Math.abs));
      for (const [got, wanted] of [
        [measured?.grams.hessian, hessian],
        [measured?.grams.drift, drift],
      ] as const) {
        expect(got?.length).toBe(wanted.length);
        const worst = Math.max(...wanted.map((v, i) => Math.abs(v - (got?.[i] ?? Number.NaN))));
        expect(worst).toBeLessThan(2e-5 * scale);
      }
      expect(relativeDrift === 0).toBe(layer.id === "a");
      const weight = coarse(await layer.readWeight());
      rounded = withWeight(rounded, layer.weight, layer.toStored(weight));
      return new Map([[layer.id, weight]]);
    },
  });
  expect(seen).toEqual(["a", "b", "c", "d"]);
});
