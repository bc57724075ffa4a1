/** Running ahead of the use of results: order, failures, what is left behind. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Model } from "../../src/onnx/index.ts";
import {
  inOrder,
  openAll,
  type Runtime,
  runBatches,
  type Session,
} from "../../src/runtime/index.ts";
import { datasetOf } from "../support/toy-models.ts";

const model = {} as Model;

/** A runtime that counts its sessions; `behave` decides what a run does. */
function fakeRuntime(workers: number, behave: (run: number) => Promise<void>) {
  const state = { open: 0, opened: 0, runs: 0 };
  const runtime: Runtime = {
    workers,
    async open() {
      state.opened++;
      state.open++;
      const session: Session = {
        inputNames: [],
        outputNames: [],
        async run(feeds) {
          await behave(state.runs++);
          return feeds;
        },
        async release() {
          state.open--;
        },
      };
      return session;
    },
    close: async () => {},
  };
  return { runtime, state };
}

const batches = (count: number) =>
  datasetOf(
    Array.from({ length: count }, (_, i) => ({
      x: { dtype: "float32" as const, shape: [], data: Float32Array.of(i) },
    })),
  );

describe("runBatches", () => {
  test("hands results over in order, whatever finishes first, and never runs further ahead than workers", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 9 }),
        async (workers, delays) => {
          let under = 0;
          let most = 0;
          const { runtime, state } = fakeRuntime(workers, async (run) => {
            most = Math.max(most, ++under);
            for (let i = 0; i < delays[run]; i++) await new Promise(setImmediate);
            under--;
          });
          const seen: number[][] = [];
          await runBatches({
            runtime,
            model,
            dataset: batches(delays.length),
            fetch: [],
            signal: undefined,
            onBatch: ({ x }, done, total) => seen.push([Number(x.data[0]), done, total]),
          });
          expect(seen).toEqual(delays.map((_, i) => [i, i + 1, delays.length]));
          expect(most).toBeLessThanOrEqual(workers);
          expect(state).toMatchObject({ open: 0, opened: Math.min(workers, delays.length) });
        },
      ),
      { numRuns: 60 },
    ));

  test("a failure behind another one does not end the process; all sessions are released", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    const { runtime, state } = fakeRuntime(3, async (run) => {
      // The last run fails first, while the first is still awaited.
      for (let i = run; i < 3; i++) await new Promise(setImmediate);
      throw new Error(`run ${run}`);
    });
    const work = runBatches({
      runtime,
      model,
      dataset: batches(3),
      fetch: [],
      signal: undefined,
      onBatch: () => {},
    });
    await expect(work).rejects.toThrow("run 0");
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
    expect(state.open).toBe(0);
  });

  test("an error of onBatch ends it, with the sessions released", async () => {
    const { runtime, state } = fakeRuntime(2, async () => {});
    const work = runBatches({
      runtime,
      model,
      dataset: batches(4),
      fetch: [],
      signal: undefined,
      onBatch() {
        throw new Error("cannot use it");
      },
    });
    await expect(work).rejects.toThrow("cannot use it");
    expect(state.open).toBe(0);
  });
});

test("inOrder with nothing to do does nothing", async () => {
  const fail = () => {
    throw new Error("not called");
  };
  await inOrder({ count: 0, ahead: 2, start: fail, use: fail });
});

test.each(["start", "use"])("inOrder waits for what is under way when %s fails", async (place) => {
  let under = 0;
  const work = inOrder({
    count: 5,
    ahead: 3,
    async start(index) {
      if (place === "start" && index === 1) throw new Error("failed");
      under++;
      for (let turn = 0; turn < 10 * index; turn++) await new Promise(setImmediate);
      under--;
    },
    use(_, index) {
      if (place === "use" && index === 0) throw new Error("failed");
    },
  });
  await expect(work).rejects.toThrow("failed");
  expect(under).toBe(0);
});

test("openAll opens all or none", async () => {
  const { runtime, state } = fakeRuntime(2, async () => {});
  const wanted = [0, 1, 2].map((worker) => ({ model, worker }));
  expect((await openAll(runtime, wanted)).length).toBe(3);
  expect(state.open).toBe(3);
  const failing: Runtime = {
    ...runtime,
    async open(opened, options) {
      if (options?.worker === 1) throw new Error("no room");
      return runtime.open(opened, options);
    },
  };
  await expect(openAll(failing, wanted)).rejects.toThrow("no room");
  expect(state).toMatchObject({ open: 3, opened: 5 });
});
