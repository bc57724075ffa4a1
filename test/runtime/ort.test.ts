/** ONNX Runtime behind worker threads: results, errors, the end of workers. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { encodeModel, type Model, openModel } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import { floatFeed, intFeed, numbersOf } from "../support/toy-models.ts";

const runtime = createRuntime({ threads: 2 });
afterAll(() => runtime.close());

const twice = graph()
  .input("x", "float32", ["n"])
  .output("y", "float32", ["n"])
  .output("z", "float32", ["n"])
  .node("Add", ["x", "x"], ["y"])
  .node("Neg", ["x"], ["z"])
  .model();

const failure = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isBitloomError(error)) throw new Error(`expected a BitloomError, got ${String(error)}`);
  return error;
};

describe("results", () => {
  test("all outputs, or those asked for", async () => {
    const session = await runtime.open(twice);
    expect(session.inputNames).toEqual(["x"]);
    expect(session.outputNames).toEqual(["y", "z"]);
    const x = floatFeed([1, 2], [2]);
    expect(await session.run({ x })).toEqual({
      y: { dtype: "float32", shape: [2], data: Float32Array.of(2, 4) },
      z: { dtype: "float32", shape: [2], data: Float32Array.of(-1, -2) },
    });
    expect(Object.keys(await session.run({ x }, ["z"]))).toEqual(["z"]);
    await session.release();
  });

  test("float16 as bit patterns, int64 as big integers, bool as 0 and 1", async () => {
    const model = graph()
      .input("h", "float16", [2])
      .input("i", "int64", [2])
      .input("b", "bool", [2])
      .output("h2", "float16", [2])
      .output("i2", "int64", [2])
      .output("b2", "bool", [2])
      .node("Neg", ["h"], ["h2"])
      .node("Abs", ["i"], ["i2"])
      .node("Not", ["b"], ["b2"])
      .model();
    const session = await runtime.open(model);
    const results = await session.run({
      h: floatFeed([1.5, -0.25], [2], "float16"),
      i: intFeed([-3, 4], [2]),
      b: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
    });
    expect(results.h2.data).toBeInstanceOf(Uint16Array);
    expect(numbersOf(results.h2)).toEqual([-1.5, 0.25]);
    expect(results.i2.data).toEqual(BigInt64Array.of(3n, 4n));
    expect(results.b2).toEqual({ dtype: "bool", shape: [2], data: Uint8Array.of(0, 1) });
  });

  test("sessions and runs in parallel do not mix", async () => {
    const times = (factor: number) =>
      graph()
        .input("x", "float32", [1])
        .initializer("f", [1], Float32Array.of(factor))
        .output("y", "float32", [1])
        .node("Mul", ["x", "f"], ["y"])
        .model();
    const sessions = await Promise.all([2, 3, 5, 7].map((factor) => runtime.open(times(factor))));
    const runs = sessions.flatMap((session) =>
      [1, 10, 100].map(
        async (x) => numbersOf((await session.run({ x: floatFeed([x], [1]) })).y)[0],
      ),
    );
    expect(await Promise.all(runs)).toEqual(
      [2, 3, 5, 7].flatMap((factor) => [factor, 10 * factor, 100 * factor]),
    );
  });

  test("a release waits for the runs before it, and may come twice", async () => {
    const session = await runtime.open(twice, { worker: 1 });
    const runs = Array.from({ length: 20 }, () => session.run({ x: floatFeed([1], [1]) }));
    const released = session.release();
    expect((await Promise.all(runs)).map(({ y }) => numbersOf(y))).toEqual(
      Array.from({ length: 20 }, () => [2]),
    );
    await released;
    await session.release();
    expect((await failure(session.run({ x: floatFeed([1], [1]) }))).message).toMatch(/released/);
  });
});

describe("errors are BitloomErrors that say what is wrong", () => {
  const x = floatFeed([1], [1]);

  test.each([
    ["a missing input", {}, undefined, /input 'x' is missing/],
    ["a wrong type", { x: intFeed([1], [1]) }, undefined, /data type/],
    ["a wrong rank", { x: floatFeed([1], [1, 1]) }, undefined, /rank/],
    ["data that does not fill its shape", { x: floatFeed([1], [3]) }, undefined, /size|length/],
    ["an output the model has not", { x }, ["w"], /invalid output name: w/],
  ])("%s", async (_name, feeds, fetch, message) => {
    const session = await runtime.open(twice);
    const error = await failure(session.run(feeds, fetch));
    expect(error.code).toBe("bad-data");
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^ONNX Runtime could not run the model: .*[^.]\. Check names/s);
    // The session is as good as before.
    expect(numbersOf((await session.run({ x })).y)).toEqual([2]);
    await session.release();
  });

  test("a model that ONNX Runtime refuses, named by its path", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
    const path = join(folder, "odd.onnx");
    const odd = graph().input("x", "float32").output("y").node("NoSuchOperator", ["x"], ["y"]);
    await writeFile(path, await odd.bytes());
    const error = await failure(runtime.open(await openModel(path)));
    expect(error.code).toBe("bad-model");
    expect(error.message).toContain(`could not load "${path}"`);
    expect(error.message).toContain("NoSuchOperator");
    await rm(folder, { recursive: true });
  });
});

test("a model too large for a message opens through files, which are gone again", async () => {
  const before = process.env.TMPDIR;
  const folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
  process.env.TMPDIR = folder;
  try {
    // 84 MB of ones: every output is the sum of the inputs.
    const [k, n] = [7, 3_000_000];
    const model = graph()
      .input("x", "float32", [1, k])
      .initializer("w", [k, n], new Float32Array(k * n).fill(1))
      .output("y", "float32", [1, n])
      .node("MatMul", ["x", "w"], ["y"])
      .model();
    const session = await runtime.open(model);
    expect(await readdir(folder)).toEqual([]);
    const { y } = await session.run({ x: floatFeed([1, 2, 3, 4, 5, 6, 7], [1, k]) });
    expect(y.shape).toEqual([1, n]);
    expect((y.data as Float32Array).every((value) => value === 28)).toBe(true);
    await session.release();
  } finally {
    if (before === undefined) Reflect.deleteProperty(process.env, "TMPDIR");
    else process.env.TMPDIR = before;
    await rm(folder, { recursive: true });
  }
});

describe("the end", () => {
  test("close waits for runs under way; afterwards everything is refused, twice is fine", async () => {
    const own = createRuntime({ threads: 2 });
    const session = await own.open(twice);
    const run = session.run({ x: floatFeed([4], [1]) });
    const closed = own.close();
    expect(numbersOf((await run).y)).toEqual([8]);
    await closed;
    expect(await failure(session.run({ x: floatFeed([4], [1]) }))).toMatchObject({
      code: "kernel",
      message: expect.stringContaining("the runtime was closed"),
    });
    expect((await failure(own.open(twice))).code).toBe("kernel");
    await session.release();
    await own.close();
  });

  test("close without any session", async () => {
    const own = createRuntime();
    await own.close();
    expect((await failure(own.open(twice))).code).toBe("kernel");
  });
});

describe("as a process", () => {
  const run = promisify(execFile);
  const built = pathToFileURL(join(import.meta.dirname, "../../src/runtime/ort-worker.js")).href;

  /** Drives the worker file the way the runtime does, from plain JavaScript. */
  async function inProcess(model: Model, body: string) {
    const folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
    const path = join(folder, "model.onnx");
    await writeFile(path, await encodeModel(model));
    const script = `
      import { Worker } from "node:worker_threads";
      const worker = new Worker(new URL(${JSON.stringify(built)}));
      const options = { logSeverityLevel: 4, intraOpNumThreads: 1, interOpNumThreads: 1 };
      const call = (request) => new Promise((resolve) => {
        worker.once("message", resolve);
        worker.postMessage({ id: 1, request });
      });
      const model = ${JSON.stringify(path)};
      ${body}`;
    try {
      const main = join(folder, "main.mjs");
      await writeFile(main, script);
      return await run(process.execPath, [main]);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("nothing is printed, neither for odd graphs nor for failing runs, and the worker ends", async () => {
    // An unused initializer and a shape that contradicts the operator's: both make ONNX Runtime warn.
    const model = graph()
      .input("x", "float32", ["n"])
      .initializer("unused", [2], Float32Array.of(1, 2))
      .output("y", "float32", [7, 7])
      .node("Add", ["x", "x"], ["y"])
      .model();
    const { stdout, stderr } = await inProcess(
      model,
      `console.log(JSON.stringify(await call({ kind: "open", session: 1, model, options })));
       const bad = { x: { dtype: "int64", shape: [1], data: BigInt64Array.of(1n) } };
       console.log(JSON.stringify(await call({ kind: "run", runs: [
         { session: 1, feeds: bad, fetch: ["y"], links: [] },
       ] })));
       worker.on("exit", (code) => console.log("exit", code));
       worker.postMessage("end");`,
    );
    const lines = stdout.trim().split("\n");
    expect(stderr).toBe("");
    expect(lines.length).toBe(3);
    expect(lines[1]).toMatch(/"error":.*data type/);
    expect(lines[2]).toBe("exit 0");
  });

  test("ONNX Runtime reports to nobody: it leaves no logs of that behind", async () => {
    const folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
    const library = pathToFileURL(join(import.meta.dirname, "../../dist/src/index.js")).href;
    const model = join(import.meta.dirname, "../../calibration/tiny-lm/model.onnx");
    const script = `
      const { createRuntime, openModel } = await import(${JSON.stringify(library)});
      const runtime = createRuntime();
      await runtime.open(await openModel(${JSON.stringify(model)}));
      await runtime.close();`;
    const { ORT_DISABLE_TELEMETRY: _, ...rest } = process.env;
    const env = { ...rest, TMPDIR: folder, XDG_CACHE_HOME: folder };
    try {
      await run(process.execPath, ["--input-type=module", "-e", script], { env });
      expect(await readdir(folder)).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
