/** The error that reaches each layer, as a whole run reports it. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import type { Model } from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";
import { normalSamples, type Workbench, workbench } from "../support/pipeline-run.ts";
import { normals } from "../support/toy-models.ts";

let bench: Workbench;
beforeEach(() => {
  bench = workbench();
});
afterEach(() => bench.remove());

const width = 32;
const depth = 6;
const samples = normalSamples(24, [40, width]);

/** Layers of one shape, one after another, without anything between that could swallow an error. */
function chain(): Model {
  let model = graph().input("x", "float32", ["rows", width]);
  for (let at = 0; at < depth; at++) {
    model = model
      .initializer(`w${at}`, [width, width], normals(width * width, at + 1, 0.18))
      .node("MatMul", [at === 0 ? "x" : `v${at - 1}`, `w${at}`], [`v${at}`], {}, `layer${at}`);
  }
  return model.output(`v${depth - 1}`, "float32", ["rows", width]).model();
}

const options = { formats: [parseFormat("int3-b16")], budget: "6bpw", rows: 16 } as const;

test("grows along the network, less where layers are rounded against what they really get", async () => {
  const { report } = await bench.run(chain(), samples, options);
  const growth = report.errorGrowth;
  expect(growth?.samples).toBeLessThanOrEqual(8);
  expect(growth?.layers.map(({ layer }) => layer)).toEqual(report.layers.map(({ name }) => name));
  const [first, ...later] = growth?.layers ?? [];
  expect(first).toMatchObject({ sequential: 0, oneShot: 0 });
  const alone = later.map(({ oneShot }) => oneShot ?? 0);
  expect(alone).toEqual([...alone].sort((a, b) => a - b));
  expect(alone[0]).toBeGreaterThan(1e-3);
  const last = later[later.length - 1];
  expect(last.sequential).toBeLessThan(last.oneShot ?? 0);
  // Of the same weights, on the data that they were made with.
  const drifts = report.propagation?.layers.map(({ relativeDrift }) => relativeDrift ?? 0) ?? [];
  for (const [at, { sequential }] of later.entries()) {
    expect(sequential).toBeGreaterThan(drifts[at + 1] / 2);
    expect(sequential).toBeLessThan(drifts[at + 1] * 2);
  }
});

test("is not measured where nothing is propagated", async () => {
  const { report } = await bench.run(chain(), samples, { ...options, sequential: false });
  expect(report.errorGrowth).toBeNull();
});
