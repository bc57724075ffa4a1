/** Workers that die: a clear error for whoever waits and whoever comes later, never a hang. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";

/** What the worker thread runs instead of the real one. */
const program = vi.hoisted(() => ({ code: "" }));

vi.mock("node:worker_threads", async (original) => {
  const actual = await original<typeof import("node:worker_threads")>();
  class Dying extends actual.Worker {
    constructor() {
      super(program.code, { eval: true });
    }
  }
  return { ...actual, Worker: Dying };
});

const model = graph()
  .input("x", "float32")
  .output("y", "float32")
  .node("Neg", ["x"], ["y"])
  .model();

/** Answers the first request (open), then `then`. */
const afterOpening = (then: string) => `
  const { parentPort } = require("node:worker_threads");
  let count = 0;
  parentPort.on("message", ({ id }) => {
    if (count++ === 0) parentPort.postMessage({ id, result: { inputNames: ["x"], outputNames: ["y"] } });
    else { ${then} }
  });`;

describe.each([
  ["exits", "process.exit(3);", /its worker thread has ended/],
  ["throws", 'throw new Error("out of luck");', /its worker thread failed: out of luck/],
])("a worker that %s", (_name, death, message) => {
  beforeEach(() => {
    program.code = afterOpening(death);
  });

  test("during a run: that run, all waiting and all later ones fail; release and close do not", async () => {
    const runtime = createRuntime();
    const session = await runtime.open(model);
    const runs: PromiseSettledResult<unknown>[] = await Promise.allSettled(
      [1, 2, 3].map(() => session.run({})),
    );
    runs.push(...(await Promise.allSettled([session.run({}), runtime.open(model)])));
    expect(runs.length).toBe(5);
    for (const run of runs) {
      expect(run).toMatchObject({
        status: "rejected",
        reason: { name: "BitloomError", code: "kernel", message: expect.stringMatching(message) },
      });
    }
    await session.release();
    await runtime.close();
  });
});

test("a worker that cannot start: opening fails with its reason", async () => {
  program.code = 'throw new Error("no binary for this platform");';
  const runtime = createRuntime({ threads: 2 });
  await expect(runtime.open(model)).rejects.toMatchObject({
    code: "kernel",
    message: expect.stringMatching(/no binary for this platform.*onnxruntime-node is installed/),
  });
  await runtime.close();
});
