/** Calibration on graphs made for one question each; the definitions themselves are in the conformance suite. */
import { afterAll, describe, expect, test } from "vitest";
import { calibrate, statistics } from "../../src/calibrate/index.ts";
import type { Dataset } from "../../src/core/dataset.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import type { Event } from "../../src/core/events.ts";
import type { StatName } from "../../src/core/stats.ts";
import { findBlocks, findLayers } from "../../src/layers/index.ts";
import { attribute, type Model } from "../../src/onnx/index.ts";
import { createRuntime, type WorkerRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import { referenceHessian, referenceProduct, transpose } from "../support/reference.ts";
import {
  datasetOf,
  floatFeed,
  floats,
  intFeed,
  normals,
  toyTransformer,
} from "../support/toy-models.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());

const everything = Object.keys(statistics) as StatName[];

async function collect<S extends StatName>(model: Model, dataset: Dataset, needs: readonly S[]) {
  const { layers } = findLayers(model.graph);
  const blocks = findBlocks(model.graph, layers);
  return calibrate({ model, layers, blocks, dataset, needs, runtime });
}

/** The model that calibration runs, without running it. */
async function compiled(model: Model, needs: readonly StatName[]): Promise<Model> {
  const { layers } = findLayers(model.graph);
  let seen: Model | undefined;
  const spy: WorkerRuntime = {
    workers: 1,
    open(opened) {
      seen = opened;
      throw new Error("seen enough");
    },
    runChain: () => Promise.reject(new Error("seen enough")),
    close: async () => {},
  };
  const blocks = findBlocks(model.graph, layers);
  const dataset = datasetOf([{}]);
  await expect(calibrate({ model, layers, blocks, dataset, needs, runtime: spy })).rejects.toThrow(
    "seen enough",
  );
  if (!seen) throw new Error("calibration opened no session");
  return seen;
}

const addedNodes = (after: Model, before: Model, opType: string) => {
  const known = new Set(before.graph.nodes.map(({ name }) => name));
  return after.graph.nodes.filter((node) => node.opType === opType && !known.has(node.name)).length;
};

const closeTo = (got: ArrayLike<number> | undefined, expected: ArrayLike<number>) => {
  const all = Array.from(expected);
  const scale = Math.max(...all.map(Math.abs));
  expect(got?.length).toBe(all.length);
  for (const [i, value] of all.entries())
    expect(Math.abs((got?.[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(1e-5 * scale);
};

const squareSum = (values: ArrayLike<number>) =>
  Array.from(values).reduce((sum, value) => sum + value * value, 0);

describe("shared activations", () => {
  const model = toyTransformer();

  test("q, k and v are measured once: one product per distinct activation", async () => {
    const after = await compiled(model, ["hessian"]);
    // Per block: h (q, k, v), mixed, mid, act; and the head's input.
    expect(addedNodes(after, model, "MatMul")).toBe(2 * 4 + 1);
    expect(addedNodes(await compiled(model, ["absMax"]), model, "ReduceMax")).toBe(2 * 4 + 1);
    // Outputs are their own: 6 layers per block and the head.
    const powers = await compiled(model, ["outputPower"]);
    expect(addedNodes(powers, model, "ReduceSumSquare")).toBe(2 * 6 + 1);
  });

  test("they share one Hessian array, so its factor is made once", async () => {
    const dataset = datasetOf([{ input_ids: intFeed([1, 2, 3, 4], [1, 4]) }]);
    const stats = await collect(model, dataset, ["hessian"]);
    const [q, k, v, o] = ["q0", "k0", "v0", "o0"].map((id) => stats.get(id)?.hessian);
    expect(k).toBe(q);
    expect(v).toBe(q);
    expect(o).not.toBe(q);
  });

  test("only what is needed is compiled, and nothing is run without needs", async () => {
    const known = new Set(model.graph.nodes.map(({ opType }) => opType));
    const after = await compiled(model, ["meanSquare"]);
    const added = after.graph.nodes.map(({ opType }) => opType).filter((op) => !known.has(op));
    expect(new Set(added)).toEqual(
      new Set(["Cast", "Constant", "Identity", "ReduceSumSquare", "Reshape", "Size"]),
    );
    const stats = await collect(model, datasetOf([{}]), []);
    expect(stats.get("q0")).toEqual({ layer: "q0", tokens: 0 });
  });
});

describe.each([9, 11, 13, 18, 21])("Gemm at opset %i", (opset) => {
  const k = 4;
  const n = 3;
  const weight = normals(k * n, 3);
  const bias = normals(n, 4, 10);

  test.each([0, 1])(
    "transA = %i: columns or rows of the activation, bias excluded",
    async (transA) => {
      const builder = graph({ opset })
        .input("x", "float32", [undefined, undefined])
        .output("y", "float32", [undefined, n]);
      floats(builder, "w", [n, k], weight);
      floats(builder, "b", [n], bias);
      const attributes = {
        transA: attribute.int(transA),
        transB: attribute.int(1),
        beta: attribute.float(2),
      };
      const model = builder.node("Gemm", ["x", "w", "b"], ["y"], attributes, "gemm").model();
      const batches = [5, 2].map((rows, i) => ({ rows, x: normals(rows * k, 10 + i) }));
      const dataset = datasetOf(
        batches.map(({ rows, x }) => ({
          x: transA ? floatFeed(transpose(x, rows, k), [k, rows]) : floatFeed(x, [rows, k]),
        })),
      );
      const all = batches.flatMap(({ x }) => [...x]);
      const stats = (await collect(model, dataset, everything)).get("gemm");
      expect(stats?.tokens).toBe(7);
      closeTo(stats?.hessian, referenceHessian(all, 7, k));
      const output = referenceProduct(all, transpose(weight, n, k), 7, k, n);
      closeTo([stats?.outputPower ?? Number.NaN], [squareSum(output) / 7]);
      expect(stats?.rowFrequency).toBeUndefined();
      expect(stats?.blockCosine).toBeUndefined();
    },
  );
});

test("one value read as rows by one layer and as columns by another has two Hessians", async () => {
  const builder = graph()
    .input("x", "float32", [4, 4])
    .output("a", "float32")
    .output("b", "float32");
  floats(builder, "w1", [4, 3], normals(12, 1));
  floats(builder, "w2", [4, 3], normals(12, 2));
  const model = builder
    .node("Gemm", ["x", "w1"], ["a"], {}, "rows")
    .node("Gemm", ["x", "w2"], ["b"], { transA: attribute.int(1) }, "columns")
    .model();
  const x = normals(16, 5);
  const stats = await collect(model, datasetOf([{ x: floatFeed(x, [4, 4]) }]), everything);
  closeTo(stats.get("rows")?.hessian, referenceHessian(x, 4, 4));
  closeTo(stats.get("columns")?.hessian, referenceHessian(transpose(x, 4, 4), 4, 4));
});

test("Gemm's alpha is no part of the output power", async () => {
  const builder = graph().input("x", "float32", [2, 2]).output("y", "float32");
  floats(builder, "w", [2, 2], Float32Array.of(1, 0, 0, 1));
  const model = builder
    .node("Gemm", ["x", "w"], ["y"], { alpha: attribute.float(10) }, "g")
    .model();
  const dataset = datasetOf([{ x: floatFeed([1, 2, 3, 4], [2, 2]) }]);
  expect((await collect(model, dataset, ["outputPower"])).get("g")?.outputPower).toBe(30 / 2);
});

test.each([11, 13, 18, 21])("float16 at opset %i: 300 is squared in float32", async (opset) => {
  const builder = graph({ opset })
    .input("x", "float16", ["batch", "rows", 2])
    .output("y", "float16", ["batch", "rows", 1]);
  floats(builder, "w", [2, 1], Float32Array.of(1, -1), "float16");
  const model = builder.node("MatMul", ["x", "w"], ["y"], {}, "layer").model();
  const x = floatFeed([300, 299, -300, -301.75], [1, 2, 2], "float16");
  const stats = (await collect(model, datasetOf([{ x }]), everything)).get("layer");
  expect([...(stats?.absMax ?? [])]).toEqual([300, 301.75]);
  closeTo(stats?.hessian, referenceHessian([300, 299, -300, -301.75], 2, 2));
  closeTo(stats?.meanSquare, [90000, (299 ** 2 + 301.75 ** 2) / 2]);
  closeTo([stats?.outputPower ?? Number.NaN], [(1 + 1.75 ** 2) / 2]);
});

test("a vector activation is one row", async () => {
  const builder = graph().input("x", "float32", [3]).output("y", "float32");
  floats(builder, "w", [3, 2], normals(6, 1));
  const model = builder.node("MatMul", ["x", "w"], ["y"], {}, "layer").model();
  const stats = await collect(model, datasetOf([{ x: floatFeed([1, 2, 3], [3]) }]), ["hessian"]);
  expect(stats.get("layer")?.tokens).toBe(1);
  closeTo(stats.get("layer")?.hessian, referenceHessian([1, 2, 3], 1, 3));
});

describe("data that says nothing", () => {
  const builder = graph().input("x", "float32", ["rows", 2]).output("y", "float32");
  floats(builder, "w", [2, 2], normals(4, 1));
  const product = builder.node("MatMul", ["x", "w"], ["y"], {}, "layer").model();

  test("no rows at all: the statistics do not apply, nothing is NaN", async () => {
    const stats = await collect(product, datasetOf([{ x: floatFeed([], [0, 2]) }]), everything);
    expect(stats.get("layer")).toMatchObject({ tokens: 0, hessian: undefined, absMax: undefined });
  });

  test.each(everything.filter((name) => name !== "rowFrequency" && name !== "blockCosine"))(
    "%s of activations that are not finite: a numeric error names the layer",
    async (name) => {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const dataset = datasetOf([
          { x: floatFeed([1, 2], [1, 2]) },
          { x: floatFeed([1, bad, 3, 4], [2, 2]) },
        ]);
        const error = await collect(product, dataset, [name]).catch((thrown: unknown) => thrown);
        expect(isBitloomError(error, "numeric")).toBe(true);
        expect(error).toMatchObject({ detail: { layer: "layer", step: name } });
        expect((error as Error).message).toContain('"layer"');
      }
    },
  );

  test("a block whose input is zero has cosine 0", async () => {
    const b = graph().input("x", "float32", [1, 2]).output("y", "float32");
    floats(b, "w", [2, 2], normals(4, 1));
    b.node("MatMul", ["x", "w"], ["a"], {}, "layer").node("Add", ["x", "a"], ["y"]);
    const dataset = datasetOf([{ x: floatFeed([0, 0], [1, 2]) }]);
    expect((await collect(b.model(), dataset, ["blockCosine"])).get("layer")?.blockCosine).toBe(0);
  });
});

describe("running", () => {
  const model = toyTransformer();
  const dataset = datasetOf(
    Array.from({ length: 5 }, (_, i) => ({ input_ids: intFeed([i, i + 1], [1, 2]) })),
  );
  const { layers } = findLayers(model.graph);

  test("reports its progress batch by batch", async () => {
    const events: Event[] = [];
    await calibrate({
      model,
      layers,
      blocks: [],
      dataset,
      needs: ["absMax"],
      runtime,
      onEvent: (event) => events.push(event),
    });
    expect(events).toEqual(
      [1, 2, 3, 4, 5].map((done) => ({ type: "progress", stage: "calibrate", done, total: 5 })),
    );
  });

  test("stops between batches when the signal fires", async () => {
    const controller = new AbortController();
    let last = 0;
    const work = calibrate({
      model,
      layers,
      blocks: [],
      dataset,
      needs: ["absMax"],
      runtime,
      signal: controller.signal,
      onEvent(event) {
        if (event.type === "progress") last = event.done;
        if (last === 2) controller.abort();
      },
    });
    await expect(work).rejects.toMatchObject({ code: "aborted" });
    expect(last).toBe(2);
  });
});
