/** Models in segments against whole ones. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Feeds } from "../../src/core/feeds.ts";
import { constantValues, editModel, type Model, openModel, readBy } from "../../src/onnx/index.ts";
import {
  createRuntime,
  planCuts,
  runSegments,
  type WorkerRuntime,
} from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import {
  datasetOf,
  exposing,
  floatFeed,
  intFeed,
  normals,
  numbersOf,
  toyPerceptron,
  toyTransformer,
} from "../support/toy-models.ts";
import { decoderFeeds, llamaFused, llamaPlain } from "../support/transformers/index.ts";

const tinyLm = await openModel(join(import.meta.dirname, "../../calibration/tiny-lm/model.onnx"));
const [one, two, three] = [1, 2, 3].map((threads) => createRuntime({ threads }));
afterAll(() => Promise.all([one, two, three].map((runtime) => runtime.close())));

/** A folder of this file's own, because other tests make temporary files at the same time. */
process.env.TMPDIR = mkdtempSync(join(tmpdir(), "bitloom-test-"));
afterAll(() => rmSync(process.env.TMPDIR as string, { recursive: true, force: true }));

const ids = (seed: number) => Array.from({ length: 12 }, (_, i) => (i * 7 + seed * 5) % 24);
const tokens = Array.from({ length: 5 }, (_, seed) => intFeed(ids(seed), [2, 6]));
const decoder = (model: Model) =>
  Array.from({ length: 4 }, (_, seed) =>
    decoderFeeds(model, { batch: 1, sequence: 7, past: 0, seed }),
  );

const plain = llamaPlain();
const fused = llamaFused();
const cases: readonly (readonly [string, Model, readonly Feeds[]])[] = [
  ["toy transformer", toyTransformer(), tokens.map((ids) => ({ input_ids: ids }))],
  ["tied head", toyTransformer({ tied: true }), tokens.map((ids) => ({ input_ids: ids }))],
  ["float16", toyTransformer({ dtype: "float16" }), tokens.map((ids) => ({ input_ids: ids }))],
  [
    "perceptron",
    toyPerceptron(),
    [1, 2, 3].map((n) => ({ x: floatFeed(normals(16 * n, n), [n, 16]) })),
  ],
  ["Llama, plain operators", plain, decoder(plain)],
  ["Llama, fused operators", fused, decoder(fused)],
];

describe("cuts", () => {
  test.each([...cases, ["tiny-lm", tinyLm, []] as const])("%s", (_, model) => {
    const whole = planCuts(model.graph, Number.POSITIVE_INFINITY);
    expect(whole.count).toBe(1);
    const constant = constantValues(model.graph);
    for (const limit of [1, 3000, whole.bytes[0] / 5, whole.bytes[0] / 2]) {
      const { count, bytes, segmentOf } = planCuts(model.graph, limit);
      expect(count).toBe(bytes.length);
      expect(count).toBeGreaterThan(1);
      for (const node of model.graph.nodes) {
        for (const output of node.outputs.filter((value) => value && !constant.has(value))) {
          const own = segmentOf.get(output) ?? Number.NaN;
          for (const input of readBy(node)) {
            if (segmentOf.has(input)) expect(segmentOf.get(input)).toBeLessThanOrEqual(own);
          }
        }
      }
      const heaviest = Math.max(
        ...[...model.graph.initializers.values()].map(({ shape }) =>
          shape.reduce((product, size) => product * Number(size), 4),
        ),
      );
      // A node may read a heavy weight and some light ones besides.
      for (const own of bytes)
        expect(own).toBeLessThanOrEqual(Math.max(limit, 1.1 * heaviest + 64));
    }
  });

  test("transformers are cut where only the residual stream crosses", () => {
    const { graph } = toyTransformer();
    const bytes = 4 * (4 * 16 * 16 + 2 * 16 * 32);
    const { segmentOf } = planCuts(graph, bytes);
    const last = segmentOf.get("h1");
    const crossing = graph.nodes.flatMap((node) =>
      readBy(node).filter(
        (v) => segmentOf.get(v) === last && segmentOf.get(node.outputs[0]) !== last,
      ),
    );
    expect(new Set(crossing).size).toBe(1);
  });

  test("graphs with sequences stay whole", () => {
    const made = graph()
      .input("x", "float32", ["rows", 16])
      .output("y", "float32", ["rows", 16])
      .node("SplitToSequence", ["x"], ["s"])
      .node("ConcatFromSequence", ["s"], ["y"])
      .model();
    expect(planCuts(made.graph, 1).count).toBe(1);
  });
});

/** The model with 2·x − bitloom_reference of a value as further output, and inner values exposed. */
function comparing(model: Model, value: string): Model {
  const dtype = model.graph.valueInfo(value)?.dtype ?? "float32";
  const editor = editModel(model);
  editor.addInput({ name: "given", dtype, shape: undefined });
  editor.addNodes([
    { name: "twice", opType: "Add", inputs: [value, value], outputs: ["twice"], attributes: {} },
    // Depends on nothing but the reference.
    { name: "own", opType: "Identity", inputs: ["given"], outputs: ["own"], attributes: {} },
    { name: "less", opType: "Sub", inputs: ["twice", "own"], outputs: ["less"], attributes: {} },
  ]);
  editor.addOutput({ name: "less", dtype, shape: undefined });
  return editor.commit();
}

/** The runtime, which tells of models that are opened (1) and released (−1). */
function watched(
  runtime: WorkerRuntime,
  onChange: (model: Model, change: 1 | -1) => void,
): WorkerRuntime {
  return {
    ...runtime,
    async open(model, options) {
      const session = await runtime.open(model, options);
      onChange(model, 1);
      const release = session.release.bind(session);
      return Object.assign(session, {
        release() {
          onChange(model, -1);
          return release();
        },
      });
    },
  };
}

describe("segments compute what whole models compute", () => {
  test.each(cases)("%s", async (_, model, feeds) => {
    const dataset = datasetOf(feeds);
    const { outputs, nodes } = model.graph;
    const wanted = outputs.map(({ name }) => name);
    const [last] = wanted;
    const inner = nodes[Math.floor(nodes.length / 3)].outputs[0];
    const first = exposing(model, [inner]);
    const linked = comparing(model, last);
    const session = await one.open(first);
    const expected = await Promise.all(feeds.map((own) => session.run(own, [...wanted, inner])));
    await session.release();
    const results = async (runtime: typeof one, memoryLimitBytes: number) => {
      const all: { model: number; batch: number; name: string; numbers: number[] }[] = [];
      let batches: object[] = [];
      const progress: number[] = [];
      await runSegments({
        runtime,
        original: model,
        models: [
          { model: first, fetch: [last] },
          ...[1, 2, 3].map(() => ({
            model: linked,
            fetch: ["less"],
            links: new Map([["given", last]]),
          })),
          { model: first, fetch: [...wanted, inner] },
        ],
        dataset: {
          batches: dataset.batches,
          async batch(index: number) {
            batches[index] ??= await dataset.batch(index);
            return batches[index] as { feeds: Feeds };
          },
        },
        memoryLimitBytes,
        signal: undefined,
        step: "a test",
        onResults(values, index, batch) {
          for (const [name, tensor] of Object.entries(values)) {
            const numbers = numbersOf(tensor);
            all.push({ model: index, batch: batches.indexOf(batch), name, numbers });
          }
        },
        onProgress: (done, total) => progress.push(done / total),
      });
      batches = [];
      expect(progress).toEqual([...progress].sort((a, b) => a - b));
      expect(progress.at(-1)).toBe(1);
      return all;
    };
    for (const limit of [1, 20_000, 1e9]) {
      const all = await results(two, limit);
      // Every value once, and for each model and value in the order of batches.
      const keys = all.map(({ model, batch, name }) => `${model} ${batch} ${name}`);
      expect(new Set(keys).size).toBe(keys.length);
      expect(keys.length).toBe(feeds.length * (3 + new Set([...wanted, inner]).size));
      const order = new Map<string, number>();
      for (const { model, batch, name, numbers } of all) {
        expect(batch).toBeGreaterThan(order.get(`${model} ${name}`) ?? -1);
        order.set(`${model} ${name}`, batch);
        const reference = numbersOf(expected[batch][name === "less" ? last : name]);
        const scale = Math.max(1, ...reference.map(Math.abs));
        expect(numbers.length).toBe(reference.length);
        const tolerance = scale * (first.graph.valueInfo(last)?.dtype === "float16" ? 1e-2 : 2e-6);
        numbers.forEach((value, i) => {
          expect(Math.abs(value - reference[i])).toBeLessThanOrEqual(tolerance);
        });
      }
      if (limit === 20_000) {
        const sorted = (list: typeof all) =>
          [...list].sort((a, b) => a.model - b.model || a.name.localeCompare(b.name));
        expect(sorted(await results(one, limit))).toEqual(sorted(all));
        expect(sorted(await results(three, limit))).toEqual(sorted(all));
      }
    }
  });

  test("a value of the first model is kept for a reader in a later segment", async () => {
    const model = toyTransformer();
    const editor = editModel(model);
    editor.addInput({ name: "given", dtype: "float32", shape: undefined });
    // Reads an early value of the first model beside the last of its own.
    editor.addNodes([
      { name: "n", opType: "Shape", inputs: ["logits"], outputs: ["shape"], attributes: {} },
      { name: "s", opType: "Size", inputs: ["shape"], outputs: ["size"], attributes: {} },
      { name: "c", opType: "CastLike", inputs: ["size", "given"], outputs: ["f"], attributes: {} },
      { name: "late", opType: "Mul", inputs: ["given", "f"], outputs: ["late"], attributes: {} },
    ]);
    editor.addOutput({ name: "late", dtype: "float32", shape: undefined });
    const linked = editor.commit();
    const first = exposing(model, ["h1"]);
    const dataset = datasetOf([{ input_ids: tokens[0] }, { input_ids: tokens[1] }]);
    const session = await one.open(first);
    let batch = 0;
    await runSegments({
      runtime: two,
      original: model,
      models: [
        { model: first, fetch: ["h1"] },
        { model: linked, fetch: ["late"], links: new Map([["given", "h1"]]) },
      ],
      dataset,
      memoryLimitBytes: 1,
      signal: undefined,
      step: "a test",
      onResults(results) {
        expect(Object.keys(results)).toEqual(["late"]);
        late.push(numbersOf(results.late));
      },
    });
    for (; batch < 2; batch++) {
      const { h1 } = await session.run({ input_ids: tokens[batch] }, ["h1"]);
      expect(late[batch]).toEqual(numbersOf(h1).map((value) => Math.fround(3 * value)));
    }
    await session.release();
  });
  const late: number[][] = [];

  test("what is open at once fits the limit, or is the largest weight", async () => {
    const model = tinyLm;
    const input = intFeed(
      Array.from({ length: 16 }, (_, i) => i),
      [1, 16],
    );
    const [logits] = model.graph.outputs.map(({ name }) => name);
    const linked = comparing(model, logits);
    const largest = Math.max(
      ...[...model.graph.initializers.values()].map(({ byteLength }) => byteLength),
    );
    for (const limit of [1, 2e6, 12e6, 1e9]) {
      let open = 0;
      let most = 0;
      const counting = watched(three, (part, change) => {
        const bytes = [...part.graph.initializers.values()].reduce(
          (sum, { byteLength }) => sum + byteLength,
          0,
        );
        open += change * bytes;
        most = Math.max(most, open);
      });
      await runSegments({
        runtime: counting,
        original: model,
        models: [
          { model, fetch: [logits] },
          ...Array.from({ length: 4 }, () => ({
            model: linked,
            fetch: ["less"],
            links: new Map([["given", logits]]),
          })),
        ],
        dataset: datasetOf([{ input_ids: input }, { input_ids: input }, { input_ids: input }]),
        memoryLimitBytes: limit,
        signal: undefined,
        step: "a test",
        onResults: () => {},
      });
      expect(open).toBe(0);
      expect(most).toBeLessThanOrEqual(Math.max(limit, 3 * largest));
    }
  });

  test("interruption and failures leave no session open and no file behind", async () => {
    const model = toyTransformer();
    const stop = new AbortController();
    let open = 0;
    let opened = 0;
    const counting = watched(two, (_, change) => {
      open += change;
      opened += Math.max(0, change);
    });
    const run = (feeds: Feeds, signal?: AbortSignal) =>
      runSegments({
        runtime: counting,
        original: model,
        models: [{ model, fetch: ["logits"] }],
        dataset: datasetOf([feeds, feeds, feeds]),
        memoryLimitBytes: 1,
        signal,
        step: "a test",
        onResults: () => {},
        onProgress: (done) => done === 4 && stop.abort(),
      });
    await expect(run({ input_ids: tokens[0] }, stop.signal)).rejects.toThrow(/a test/);
    await expect(run({ input_ids: floatFeed(normals(12, 1), [2, 6]) })).rejects.toThrow(
      /could not run/,
    );
    expect([open, readdirSync(tmpdir())]).toEqual([0, []]);
    await run({ input_ids: tokens[0] });
    expect([open, readdirSync(tmpdir())]).toEqual([0, []]);
    expect(opened).toBeGreaterThan(6);
  });
});
