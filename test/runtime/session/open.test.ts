/** What runs on the kernels and what goes to the fallback: nodes of fusions, and types that the memory does not hold. */
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import type { Event } from "../../../src/core/events.ts";
import { attribute, encodeModel, type Model } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const wave = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(1 + i));

describe("a fusion whose nodes find no kernel is left out", () => {
  const registry = "../../../src/runtime/operators/index.ts";
  afterEach(() => {
    vi.doUnmock(registry);
    vi.resetModules();
  });

  /** Runs a model on a session that lacks one operator, and on ONNX Runtime. */
  async function compare(model: Model, lacking: string, input: Float32Array, dims: number[]) {
    vi.resetModules();
    vi.doMock(registry, async (original) => {
      const actual = await original<typeof import("../../../src/runtime/operators/index.ts")>();
      expect(actual.operators).toHaveProperty([lacking]);
      const { [lacking]: _, ...operators } = actual.operators;
      return { ...actual, operators };
    });
    const fresh = await import("../../../src/runtime/create-session.ts");
    const session = await fresh.createSession(await encodeModel(model), {
      threads: 1,
      precision: "exact",
    });
    const { y } = await session.run({ x: { type: "float32", dims, data: input } });
    await session.release();
    const reference = await runtime.open(model);
    const wanted = await reference.run({ x: { dtype: "float32", shape: dims, data: input } });
    await reference.release();
    expect(y.dims).toEqual(wanted.y.shape);
    const expected = wanted.y.data as Float32Array;
    for (const [at, value] of (y.data as Float32Array).entries()) {
      expect(Math.abs(value - expected[at])).toBeLessThan(1e-3);
    }
    return session.nodes;
  }

  test("values that the file does not have are never fed to the fallback", async () => {
    const model = graph()
      .input("x", "float32", [1, 3, 8])
      .initializer("w", [8, 24], wave(192))
      .initializer("b", [24], wave(24))
      .node("com.microsoft::Attention", ["x", "w", "b"], ["y"], { num_heads: attribute.int(2) })
      .output("y", "float32")
      .model();
    const nodes = await compare(model, "bitloom.internal::ProjectedAttention", wave(24), [1, 3, 8]);
    expect(nodes).toEqual({ total: 1, fallback: 0 });
  });

  test("products quantize their activation themselves", async () => {
    const builder = graph().input("x", "float32", [2, 32]);
    for (const name of ["p", "q"]) {
      builder
        .initializer(
          `${name}/codes`,
          [8, 1, 16],
          Uint8Array.from({ length: 128 }, (_, i) => 7 * i),
        )
        .initializer(`${name}/scales`, [8, 1], new Float32Array(8).fill(0.02))
        .node("com.microsoft::MatMulNBits", ["x", `${name}/codes`, `${name}/scales`], [name], {
          K: attribute.int(32),
          N: attribute.int(8),
          bits: attribute.int(4),
          block_size: attribute.int(32),
        });
    }
    const model = builder.node("Sub", ["p", "q"], ["d"]).node("Add", ["d", "q"], ["y"]);
    const nodes = await compare(
      model.output("y", "float32").model(),
      "bitloom.internal::QuantizeActivation",
      wave(64),
      [2, 32],
    );
    expect(nodes).toEqual({ total: 4, fallback: 0 });
  });
});

test("8-bit floats stay inside the fallback", async () => {
  const model = graph({ opset: 19, irVersion: 9 })
    .input("x", "float32", [3])
    .node("Relu", ["x"], ["r"])
    .node("Cast", ["r"], ["small"], { to: attribute.int(17) })
    .node("Cast", ["small"], ["wide"], { to: attribute.int(1) })
    .node("Add", ["wide", "r"], ["y"])
    .output("y", "float32")
    .model();
  const events: Event[] = [];
  const session = await createSession(model, {
    threads: 1,
    fallback: async () => createRuntime(),
    onEvent: (event) => events.push(event),
  });
  const x = { type: "float32", dims: [3], data: Float32Array.of(-1, 1.06, 300) };
  const { y } = await session.run({ x });
  await session.release();
  expect([...(y.data as Float32Array)].map((value) => value.toFixed(2))).toEqual([
    "0.00",
    "2.06",
    "588.00",
  ]);
  const messages = events.map((event) => (event.type === "notice" ? event.notice.message : ""));
  expect(messages).toEqual([expect.stringMatching(/^2 x Cast .*\(casts to float8e4m3fn\)/)]);
});
