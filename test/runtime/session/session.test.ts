/** Sessions on small graphs: feeds, fetches, fallback, shapes that depend on contents, caches, release. */
import { afterAll, describe, expect, test, vi } from "vitest";
import type { Event } from "../../../src/core/events.ts";
import { attribute, encodeModel } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/ort.ts";
import { openSession } from "../../../src/runtime/session/session.ts";
import { graph } from "../../support/graph-builder.ts";

const floats = (dims: readonly number[], ...values: number[]) => ({
  type: "float32",
  dims,
  data: Float32Array.from(values),
});
const ints = (dims: readonly number[], ...values: number[]) => ({
  type: "int64",
  dims,
  data: BigInt64Array.from(values, BigInt),
});

const runtime = createRuntime();
afterAll(() => runtime.close());
/** One ONNX Runtime for all tests; closing it is not the sessions' business. */
const fallback = async () => ({ ...runtime, close: async () => undefined });

/** y = max(x · w, 0), z = x + x. */
const product = () =>
  graph()
    .input("x", "float32", ["rows", 2])
    .initializer("w", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6))
    .node("MatMul", ["x", "w"], ["h"])
    .node("Relu", ["h"], ["y"])
    .node("Add", ["x", "x"], ["z"])
    .output("y", "float32")
    .output("z", "float32")
    .model();

test("float16 is fed as bits, never as numbers", async () => {
  const model = graph()
    .input("x", "float16", [2])
    .node("Neg", ["x"], ["y"])
    .output("y", "float16")
    .model();
  const session = await createSession(model, { threads: 1, fallback: "none" });
  const feed = (data: ArrayBufferView) => ({ x: { type: "float16", dims: [2], data } });
  await expect(session.run(feed(Float32Array.of(1, 2)))).rejects.toThrow(
    /holds a Float32Array where Uint16Array belongs/,
  );
  const { y } = await session.run(feed(Uint16Array.of(0x3c00, 0x4000)));
  expect(y.data).toEqual(Uint16Array.of(0xbc00, 0xc000));
  await session.release();
});

describe("runs", () => {
  test("results have the names, types and shapes of the outputs, for any number of rows", async () => {
    const session = await createSession(product(), { threads: 1, fallback: "none" });
    expect(session.inputNames).toEqual(["x"]);
    expect(session.outputNames).toEqual(["y", "z"]);
    const { y, z } = await session.run({ x: floats([1, 2], 1, -1) });
    expect([y.type, y.dims, [...(y.data as Float32Array)]]).toEqual(["float32", [1, 3], [0, 0, 0]]);
    expect([...(z.data as Float32Array)]).toEqual([2, -2]);
    const second = await session.run({ x: floats([2, 2], 1, 0, 0, 1) });
    expect([...(second.y.data as Float32Array)]).toEqual([1, 2, 3, 4, 5, 6]);
    const none = await session.run({ x: floats([0, 2]) });
    expect([none.y.dims, none.y.data.length]).toEqual([[0, 3], 0]);
    expect(session.nodes.fallback).toBe(0);
    await session.release();
  });

  test("results belong to the caller: later runs do not change them", async () => {
    const session = await createSession(product(), { threads: 1, fallback: "none" });
    const first = await session.run({ x: floats([1, 2], 1, 1) });
    await session.run({ x: floats([1, 2], 5, 5) });
    expect([...(first.y.data as Float32Array)]).toEqual([5, 7, 9]);
    await session.release();
  });

  test("runs that are started together follow one another", async () => {
    const session = await createSession(product(), { threads: 1, fallback: "none" });
    const runs = [1, 2, 3, 4].map((value) => session.run({ x: floats([1, 2], value, 0) }));
    const first = (await Promise.all(runs)).map(({ y }) => (y.data as Float32Array)[0]);
    expect(first).toEqual([1, 2, 3, 4]);
    await session.release();
  });

  test("fetches choose the outputs", async () => {
    const session = await createSession(product(), { threads: 1, fallback: "none" });
    const feeds = { x: floats([1, 2], 1, 1) };
    expect(Object.keys(await session.run(feeds, ["z"]))).toEqual(["z"]);
    expect(Object.keys(await session.run(feeds, { y: null }))).toEqual(["y"]);
    expect(Object.keys(await session.run(feeds))).toEqual(["y", "z"]);
    await expect(session.run(feeds, ["h"])).rejects.toThrow(/no output "h"/);
    await session.release();
  });

  test("a chain reuses memory: a thousand layers need a few blocks", async () => {
    const builder = graph().input("v0", "float32", ["n"]);
    for (let i = 0; i < 1000; i++) builder.node("Sigmoid", [`v${i}`], [`v${i + 1}`]);
    const session = await createSession(builder.output("v1000", "float32").model(), {
      threads: 1,
      fallback: "none",
    });
    const { v1000 } = await session.run({
      v0: { type: "float32", dims: [100_000], data: new Float32Array(100_000) },
    });
    expect((v1000.data as Float32Array)[5]).toBeCloseTo(0.659_046, 5);
    expect(session.memoryBytes).toBeLessThan(8e6);
    await session.release();
  });
});

describe("feeds that do not fit", () => {
  const model = graph()
    .input("a", "float32", ["n", 2])
    .input("b", "float32", ["n", 2])
    .node("Add", ["a", "b"], ["c"])
    .output("c", "float32")
    .model();
  const good = floats([1, 2], 1, 2);
  test.each([
    ["missing", { a: good }, /Input "b" was not fed: expected float32 \[n, 2\]/],
    ["unknown name", { a: good, b: good, q: good }, /no input "q": expected a, b/],
    ["type", { a: good, b: ints([1, 2], 1, 2) }, /"b" has the wrong type: .* got int64/],
    ["rank", { a: good, b: floats([2], 1, 2) }, /"b" has the wrong number of dimensions/],
    ["fixed dimension", { a: good, b: floats([1, 1], 1) }, /"b" has the wrong shape/],
    ["symbol", { a: good, b: floats([2, 2], 1, 2, 3, 4) }, /"b" has 2 for "n", which is 1 in "a"/],
    ["length", { a: good, b: floats([1, 2], 1) }, /holds 1 numbers where its shape needs 2/],
    [
      "kind of array",
      { a: good, b: { type: "float32", dims: [1, 2], data: Float64Array.of(1, 2) } },
      /"b" holds a Float64Array where Float32Array belongs/,
    ],
    ["no array", { a: good, b: { type: "float32", dims: [1, 2], data: [1, 2] } }, /no typed array/],
  ] as const)("%s", async (_, feeds, message) => {
    const session = await createSession(model, { threads: 1, fallback: "none" });
    const failed = session.run(feeds as never);
    await expect(failed).rejects.toMatchObject({ code: "bad-data" });
    await expect(failed).rejects.toThrow(message);
    const { c } = await session.run({ a: good, b: good });
    expect([...(c.data as Float32Array)]).toEqual([2, 4]);
    await session.release();
  });
});

describe("what has no kernel", () => {
  const det = () =>
    graph()
      .input("x", "float32", ["n", 2, 2])
      .node("Relu", ["x"], ["h"])
      .node("Det", ["h"], ["d"])
      .node("Add", ["d", "d"], ["y"])
      .output("y", "float32")
      .model();

  test("runs on ONNX Runtime, with a notice that names it", async () => {
    const events: Event[] = [];
    const session = await createSession(det(), {
      threads: 1,
      fallback,
      onEvent: (event) => events.push(event),
    });
    for (const rows of [1, 3, 3]) {
      const data = Float32Array.from({ length: 4 * rows }, (_, i) => (i % 4) + 1);
      const { y } = await session.run({ x: { type: "float32", dims: [rows, 2, 2], data } });
      expect([...(y.data as Float32Array)]).toEqual(Array(rows).fill(expect.closeTo(-4, 4)));
    }
    expect(session.nodes).toEqual({ total: 3, fallback: 1 });
    expect(session.elapsedMs.fallback).toBeGreaterThan(0);
    expect(events).toEqual([
      {
        type: "notice",
        notice: {
          code: "fallback",
          message: expect.stringMatching(/^1 x Det runs on ONNX Runtime/),
        },
      },
    ]);
    await session.release();
  });

  test("another runtime that does not open fails the run, not the release", async () => {
    const session = await createSession(det(), {
      threads: 1,
      fallback: () => Promise.reject(new Error("nothing here")),
    });
    await expect(session.run({ x: floats([1, 2, 2], 1, 2, 3, 4) })).rejects.toThrow("nothing here");
    await session.release();
  });

  test("is refused where there is no other runtime", async () => {
    await expect(createSession(det(), { fallback: "none" })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/uses Det, for which there is no kernel/),
    });
  });

  test("control flow reads outer values", async () => {
    const branch = (value: number) =>
      graph()
        .input("x", "float32", [2])
        .initializer(`k${value}`, [], Float32Array.of(value))
        .node("Mul", ["x", `k${value}`], [`b${value}`])
        .output(`b${value}`, "float32")
        .model();
    const model = graph()
      .input("c", "bool", [])
      .input("v", "float32", [2])
      .node("Neg", ["v"], ["x"])
      .node("If", ["c"], ["o"], {
        then_branch: attribute.subgraph(branch(10), ["x"]),
        else_branch: attribute.subgraph(branch(100), ["x"]),
      })
      .node("Abs", ["o"], ["y"])
      .output("y", "float32", [2])
      .model();
    const session = await createSession(model, { threads: 1, fallback });
    const v = floats([2], 1, -2);
    for (const [flag, expected] of [
      [1, [10, 20]],
      [0, [100, 200]],
    ] as const) {
      const c = { type: "bool", dims: [], data: Uint8Array.of(flag) };
      const { y } = await session.run({ c, v });
      expect([...(y.data as Float32Array)]).toEqual(expected);
    }
    await session.release();
  });
});

test("shapes that depend on the contents of feeds", async () => {
  const model = graph()
    .input("x", "float32", ["n"])
    .input("size", "int64", [2])
    .node("Relu", ["x"], ["r"])
    .node("Reshape", ["r", "size"], ["m"])
    .node("NonZero", ["m"], ["where"])
    .node("Transpose", ["where"], ["y"])
    .output("y", "int64")
    .output("m", "float32")
    .model();
  const session = await createSession(model, { threads: 1, fallback: "none" });
  const x = floats([6], 0, 1, -1, 2, 0, 3);
  const wide = await session.run({ x, size: ints([2], 2, 3) });
  expect([wide.y.dims, [...(wide.y.data as BigInt64Array)].map(Number)]).toEqual([
    [3, 2],
    [0, 1, 1, 0, 1, 2],
  ]);
  const tall = await session.run({ x, size: ints([2], 3, -1) });
  expect(tall.m.dims).toEqual([3, 2]);
  expect([...(tall.y.data as BigInt64Array)].map(Number)).toEqual([0, 1, 1, 1, 2, 1]);
  await expect(session.run({ x, size: ints([2], 4, 4) })).rejects.toMatchObject({
    code: "bad-data",
    message: expect.stringMatching(/Reshape/),
  });
  const again = await session.run({ x, size: ints([2], 2, 3) });
  expect(again.y.dims).toEqual([3, 2]);
  await session.release();
});

test("constants are folded: a graph of constants is no node at all", async () => {
  const model = graph()
    .input("x", "float32", [2])
    .initializer("a", [2], Float32Array.of(1, 2))
    .node("Add", ["a", "a"], ["b"])
    .node("Mul", ["b", "a"], ["c"])
    .node("Add", ["x", "c"], ["y"])
    .output("y", "float32")
    .output("c", "float32")
    .model();
  const session = await createSession(model, { threads: 1, fallback: "none" });
  const { y, c } = await session.run({ x: floats([2], 1, 1) });
  expect([...(y.data as Float32Array), ...(c.data as Float32Array)]).toEqual([3, 9, 2, 8]);
  expect(session.nodes.total).toBe(1);
  await session.release();
});

describe("caches that stay in the session", () => {
  // A running concatenation and its sum, as a decoder keeps its keys.
  const model = graph()
    .input("past_key_values.0.key", "float32", ["batch", 1, "past", 2])
    .input("x", "float32", ["batch", 1, "new", 2])
    .node("Concat", ["past_key_values.0.key", "x"], ["present.0.key"], { axis: attribute.int(2) })
    .node("ReduceSum", ["present.0.key"], ["y"], { keepdims: attribute.int(0) })
    .output("present.0.key", "float32")
    .output("y", "float32")
    .model();

  test("they grow from run to run and begin anew when they are reset", async () => {
    const session = await createSession(model, {
      threads: 1,
      caches: "internal",
      fallback: "none",
    });
    expect(session.inputNames).toEqual(["x"]);
    expect(session.outputNames).toEqual(["y"]);
    const step = async (...values: number[]) => {
      const { y } = await session.run({ x: floats([1, 1, values.length / 2, 2], ...values) });
      return (y.data as Float32Array)[0];
    };
    let sum = 0;
    for (let i = 0; i < 300; i++) {
      sum += 2 * i + 1;
      expect(await step(i, i + 1)).toBe(sum);
    }
    session.resetCaches();
    expect(await step(1, 2, 3, 4)).toBe(10);
    expect(await step(5, 5)).toBe(20);
    await session.release();
  });

  test("by default they are inputs and outputs like any other", async () => {
    const session = await createSession(model, { threads: 1, fallback: "none" });
    const first = await session.run({
      "past_key_values.0.key": floats([1, 1, 0, 2]),
      x: floats([1, 1, 1, 2], 1, 2),
    });
    expect(first["present.0.key"].dims).toEqual([1, 1, 1, 2]);
    const second = await session.run({
      "past_key_values.0.key": first["present.0.key"],
      x: floats([1, 1, 1, 2], 3, 4),
    });
    expect([...(second["present.0.key"].data as Float32Array)]).toEqual([1, 2, 3, 4]);
    await session.release();
  });
});

describe("release", () => {
  test("ends the session after the runs under way; twice is once", async () => {
    const session = await createSession(product(), { threads: 2, fallback: "none" });
    const run = session.run({ x: floats([1, 2], 1, 1) });
    await Promise.all([session.release(), session.release()]);
    expect((await run).y.dims).toEqual([1, 3]);
    await expect(session.run({ x: floats([1, 2], 1, 1) })).rejects.toThrow(/was released/);
  });

  test("a thousand sessions leave no memory behind", async () => {
    const model = product();
    const cycle = async () => {
      const session = await createSession(model, { threads: 1, fallback: "none" });
      await session.run({ x: floats([1, 2], 1, 1) });
      await session.release();
    };
    for (let i = 0; i < 200; i++) await cycle();
    const before = process.memoryUsage().rss;
    for (let i = 200; i < 1000; i++) await cycle();
    // One session takes 5 MB: 800 that stayed would be 4 GB.
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
  }, 60_000);
});

test("wrong options and missing features are said", async () => {
  await expect(createSession(product(), { threads: 0 })).rejects.toThrow(/"threads" is 0/);
  const notices: string[] = [];
  const session = await openSession(
    product(),
    { startThreads: undefined, noThreadsReason: "memory cannot be shared.", defaultThreads: 4 },
    undefined,
    {
      threads: 2,
      onEvent: (event) => event.type === "notice" && notices.push(event.notice.message),
    },
  );
  expect(notices).toEqual(["The session runs on one thread: memory cannot be shared."]);
  await session.release();
});

test("an engine without SIMD is refused with what to use instead", async () => {
  const validate = vi.spyOn(WebAssembly, "validate").mockReturnValue(false);
  vi.resetModules(); // the probe is made once in a process
  try {
    const fresh = await import("../../../src/runtime/create-session.ts");
    const bytes = await encodeModel(product());
    await expect(fresh.createSession(bytes, { fallback: "none" })).rejects.toMatchObject({
      code: "kernel",
      message: expect.stringMatching(/no WebAssembly SIMD.*Use Node 20 or newer/),
    });
  } finally {
    validate.mockRestore();
    vi.resetModules();
  }
});
