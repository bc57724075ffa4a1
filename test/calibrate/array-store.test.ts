/** Arrays in memory and in files, and statistics that are held there. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { calibrate, createArrayStore } from "../../src/calibrate/index.ts";
import { findBlocks, findLayers } from "../../src/layers/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { reachableBytes } from "../support/garbage.ts";
import { datasetOf, intFeed, toyTransformer } from "../support/toy-models.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());
/** A folder of this file's own, because other tests make temporary files at the same time. */
process.env.TMPDIR = mkdtempSync(join(tmpdir(), "bitloom-test-"));
afterAll(() => rmSync(process.env.TMPDIR as string, { recursive: true, force: true }));
const folders = () => readdirSync(tmpdir());

test("what was put in comes out bit for bit, whatever the limit", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.float64Array(), fc.float32Array(), fc.uint8Array())),
      fc.integer({ min: 0, max: 200 }),
      fc.integer({ min: 1, max: 20 }),
      (arrays, limit, pieceBytes) => {
        const store = createArrayStore(limit, pieceBytes);
        const stored = arrays.map((values) => store.put(values.slice()));
        for (const order of [stored.keys(), [...stored.keys()].reverse()]) {
          for (const i of order) expect(stored[i].read()).toEqual(arrays[i]);
        }
        for (const one of stored) one.drop();
        store.close();
      },
    ),
    { numRuns: 50 },
  );
});

test("the array read last is the same object; files go when they are dropped or the store is closed", () => {
  const before = new Set(folders());
  const store = createArrayStore(0);
  const stored = store.put(Float64Array.of(1, 2, 3));
  expect(stored.read()).toBe(stored.read());
  const [own] = folders().filter((name) => !before.has(name));
  expect(readdirSync(`${tmpdir()}/${own}`).length).toBe(1);
  stored.drop();
  expect(readdirSync(`${tmpdir()}/${own}`)).toEqual([]);
  store.close();
  expect(existsSync(`${tmpdir()}/${own}`)).toBe(false);
});

test("arrays in files do not stay in memory", () => {
  const store = createArrayStore(0);
  const before = reachableBytes();
  const stored = Array.from({ length: 20 }, (_, i) => store.put(new Float64Array(2 ** 17).fill(i)));
  expect(reachableBytes() - before).toBeLessThan(4e6);
  expect(stored[3].read()[7]).toBe(3);
  store.close();
});

test("statistics in files, of a model in segments, are those in memory", async () => {
  const model = toyTransformer();
  const { layers } = findLayers(model.graph);
  const blocks = findBlocks(model.graph, layers);
  const dataset = datasetOf(
    [0, 1, 2].map((seed) => ({
      input_ids: intFeed(
        Array.from({ length: 12 }, (_, i) => (7 * i + seed) % 24),
        [2, 6],
      ),
    })),
  );
  const needs = ["hessian", "meanSquare", "rowFrequency", "blockCosine"] as const;
  const collect = (memoryLimitBytes: number, arrays = createArrayStore(memoryLimitBytes)) =>
    calibrate({ model, layers, blocks, dataset, needs, runtime, memoryLimitBytes, arrays });
  const whole = await collect(1e9);
  const arrays = createArrayStore(0);
  const cut = await collect(1, arrays);
  for (const { id } of layers) {
    const [expected, got] = [whole.get(id), cut.get(id)];
    expect(got?.tokens).toBe(expected?.tokens);
    for (const name of needs) {
      const [a, b] = [expected?.[name], got?.[name]];
      expect(b === undefined).toBe(a === undefined);
      if (a === undefined || b === undefined) continue;
      const numbers = (value: typeof a) => (typeof value === "number" ? [value] : [...value]);
      const top = Math.max(...numbers(a).map(Math.abs));
      numbers(b).forEach((value, i) => {
        expect(Math.abs(value - numbers(a)[i])).toBeLessThanOrEqual(1e-5 * top);
      });
    }
  }
  // Layers that share an activation share its Hessian.
  const q = layers.find(({ id }) => id === "q0") ?? layers[1];
  const k = layers.find(({ id }) => id === "k0") ?? layers[2];
  expect(cut.get(q.id)?.hessian).toBe(cut.get(k.id)?.hessian);
  arrays.close();
});
