/** Caches that stay in the session: the same numbers as caches that the caller carries, however they grow. */
import { describe, expect, test } from "vitest";
import type { Model } from "../../../src/onnx/index.ts";
import {
  createSession,
  type GenerationSession,
  generateTokens,
} from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";
import { llamaFused, llamaOpset23, llamaPlain } from "../../support/transformers/index.ts";

const forms: readonly (readonly [string, () => Model])[] = [
  ["group-query", () => llamaFused()],
  ["multi-head", () => llamaFused({ attention: "multi-head" })],
  ["opset 23", () => llamaOpset23()],
  ["plain, eager", () => llamaPlain({ style: "eager" })],
  ["plain, sdpa", () => llamaPlain({ style: "sdpa" })],
];

/** The logits of every step of a greedy generation. */
async function logitsOf(session: GenerationSession, prompt: readonly number[], tokens: number) {
  const steps: number[][] = [];
  const recording: GenerationSession = {
    ...session,
    outputNames: session.outputNames,
    inputMetadata: session.inputMetadata,
    carriesCaches: session.carriesCaches ?? false,
    resetCaches: () => session.resetCaches?.(),
    async run(feeds, fetches) {
      const results = await session.run(feeds, fetches);
      steps.push([...(results.logits.data as Float32Array)]);
      return results;
    },
  };
  for await (const _ of generateTokens(recording, prompt, { maxNewTokens: tokens }));
  return steps;
}

describe("internal caches give the bits of external ones, past every growth and after a new start", () => {
  test.each(forms)("%s", async (_, make) => {
    const model = make();
    const [inside, outside] = await Promise.all(
      (["internal", "external"] as const).map((caches) =>
        createSession(model, { threads: 1, caches, fallback: "none" }),
      ),
    );
    try {
      // Blocks grow beyond 64 rows, then beyond 128; the second prompt is shorter, the third longer than any before.
      for (const [length, tokens] of [
        [40, 100],
        [3, 5],
        [201, 4],
      ]) {
        const prompt = Array.from({ length }, (_, at) => (at * 7 + 3) % 50);
        const wanted = await logitsOf(outside, prompt, tokens);
        expect(await logitsOf(inside, prompt, tokens)).toEqual(wanted);
      }
    } finally {
      await inside.release();
      await outside.release();
    }
  });
});

test("a run that fails leaves the caches as they were", async () => {
  const session = await createSession(llamaFused(), { threads: 1, caches: "internal" });
  try {
    const ints = (...values: number[]) => ({
      type: "int64",
      dims: [1, values.length],
      data: BigInt64Array.from(values, BigInt),
    });
    const feeds = (ids: number[], total: number) => ({
      input_ids: ints(...ids),
      attention_mask: ints(...new Array<number>(total).fill(1)),
    });
    await session.run(feeds([1, 2, 3], 3));
    const { logits } = await session.run(feeds([4], 4));
    session.resetCaches();
    await session.run(feeds([1, 2, 3], 3));
    // No token of the vocabulary; found when the run is under way.
    await expect(session.run(feeds([1_000_000], 4))).rejects.toThrow(/1000000|outside/);
    const again = await session.run(feeds([4], 4));
    expect(again.logits.data).toEqual(logits.data);
  } finally {
    await session.release();
  }
});

describe("steps of which only the types are needed do not run", () => {
  /** The sizes of x repeated as `times` says, and, if asked for, its numbers. */
  const repeated = () =>
    graph()
      .input("x", "float32", ["rows", 1])
      .input("times", "int64", [2])
      .node("Expand", ["x", "times"], ["wide"])
      .node("Neg", ["wide"], ["negative"])
      .node("Shape", ["negative"], ["sizes"])
      .output("sizes", "int64")
      .output("negative", "float32")
      .model();
  const feeds = (columns: number) => ({
    x: { type: "float32", dims: [2, 1], data: Float32Array.of(1, 2) },
    times: { type: "int64", dims: [2], data: BigInt64Array.of(2n, BigInt(columns)) },
  });

  test("their shapes are right, whichever outputs are fetched in whichever order", async () => {
    const session = await createSession(repeated(), { threads: 1, fallback: "none" });
    const shape = async (columns: number) => {
      const { sizes } = await session.run(feeds(columns), ["sizes"]);
      return [...(sizes.data as BigInt64Array)];
    };
    expect(await shape(3)).toEqual([2n, 3n]);
    const both = await session.run(feeds(2));
    expect([...(both.negative.data as Float32Array)]).toEqual([-1, -1, -2, -2]);
    expect(await shape(4)).toEqual([2n, 4n]);
    const { negative } = await session.run(feeds(1), ["negative"]);
    expect([...(negative.data as Float32Array)]).toEqual([-1, -2]);
    await session.release();
  });

  test("a value that decides a shape is computed although nothing else reads it", async () => {
    const model = graph()
      .input("x", "float32", ["rows", 1])
      .input("a", "int64", [2])
      .input("b", "int64", [2])
      .node("Add", ["a", "b"], ["times"])
      .node("Expand", ["x", "times"], ["wide"])
      .node("Shape", ["wide"], ["sizes"])
      .output("sizes", "int64")
      .model();
    const session = await createSession(model, { threads: 1, fallback: "none" });
    for (const columns of [3, 5, 5, 2]) {
      const { sizes } = await session.run({
        x: { type: "float32", dims: [2, 1], data: Float32Array.of(1, 2) },
        a: { type: "int64", dims: [2], data: BigInt64Array.of(1n, 1n) },
        b: { type: "int64", dims: [2], data: BigInt64Array.of(1n, BigInt(columns - 1)) },
      });
      expect([...(sizes.data as BigInt64Array)]).toEqual([2n, BigInt(columns)]);
    }
    await session.release();
  });
});
