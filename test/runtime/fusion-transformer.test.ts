/**
 * Generated transformers of every family and form: the same numbers as ONNX Runtime, on the kernels alone, and the
 * nodes that the fusions leave.
 */
import { afterAll, describe, expect, test } from "vitest";
import type { Feeds, FeedTensor } from "../../src/core/feeds.ts";
import { encodeModel, type Model, openModel } from "../../src/onnx/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { storedNumbers } from "../../src/runtime/session/storage.ts";
import { graph } from "../support/graph-builder.ts";
import {
  bertFused,
  bertPlain,
  type DecoderFamily,
  decoderFamilies,
  decoderFeeds,
  encoderFeeds,
  llamaFused,
  llamaOpset23,
  llamaPlain,
} from "../support/transformers/index.ts";
import { fusedNodes, kindsOf } from "./fused-nodes.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

/** Largest difference of an output, relative to its largest number. */
async function relativeErrors(given: Model, runs: readonly Feeds[]): Promise<number> {
  const model = await openModel(await encodeModel(given));
  const reference = await runtime.open(model, { optimize: "none" });
  const session = await createSession(model, { threads: 1, fallback: "none" });
  let worst = 0;
  try {
    for (const feeds of runs) {
      const wanted = await reference.run(feeds);
      const entries = Object.entries(feeds).map(([name, { dtype, shape, data }]) => {
        return [name, { type: dtype, dims: shape, data: data as Float32Array }] as const;
      });
      const got = await session.run(Object.fromEntries(entries));
      for (const [name, tensor] of Object.entries(wanted)) {
        expect(got[name].dims, name).toEqual([...tensor.shape]);
        expect(got[name].type, name).toBe(tensor.dtype);
        const a = numbers({ ...tensor, data: got[name].data as FeedTensor["data"] });
        const b = numbers(tensor);
        const size = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        for (let i = 0; i < b.length; i++) {
          worst = Math.max(worst, Math.abs(a[i] - b[i]) / size);
          if (Number.isNaN(a[i] - b[i])) worst = Number.POSITIVE_INFINITY;
        }
      }
    }
  } finally {
    await session.release();
    await reference.release();
  }
  return worst;
}

const numbers = ({ dtype, data }: FeedTensor) =>
  Array.from(storedNumbers(dtype, data as Float32Array));

const decoderRuns = (model: Model): Feeds[] => [
  decoderFeeds(model, { sequence: 7, seed: 3 }),
  decoderFeeds(model, { sequence: 1, past: 5, seed: 4 }),
  decoderFeeds(model, { batch: 2, sequence: 4, seed: 5 }),
];

const families = Object.keys(decoderFamilies) as DecoderFamily[];

describe.each(families)("%s", (family) => {
  const isCapped = decoderFamilies[family].attentionSoftcap !== 0;
  const forms: Record<string, () => Model> = {
    "plain, eager": () => llamaPlain({ family, style: "eager" }),
    "plain, sdpa": () => llamaPlain({ family, style: "sdpa" }),
    "group-query": () => llamaFused({ family }),
    "rotary nodes": () => llamaFused({ family, attention: "rotary-nodes" }),
    ...(isCapped ? {} : { "multi-head": () => llamaFused({ family, attention: "multi-head" }) }),
    "opset 23": () => llamaOpset23({ family }),
  };
  test.each(Object.entries(forms))("%s: relative error ≤ 1e-4", async (_, make) => {
    const model = make();
    expect(await relativeErrors(model, decoderRuns(model))).toBeLessThan(1e-4);
  });
});

describe("other forms", () => {
  const forms: Record<string, () => Model> = {
    "packed projection": () => llamaFused({ packed: true }),
    QuickGelu: () => llamaFused({ silu: "quick-gelu" }),
    "opset 23, three axes": () => llamaOpset23({ layout: "flat" }),
  };
  test.each(Object.entries(forms))("%s: relative error ≤ 1e-4", async (_, make) => {
    const model = make();
    expect(await relativeErrors(model, decoderRuns(model))).toBeLessThan(1e-4);
  });
  const halves: Record<string, () => Model> = {
    "plain, eager": () => llamaPlain({ dtype: "float16", style: "eager" }),
    "plain, sdpa": () => llamaPlain({ dtype: "float16", style: "sdpa" }),
    "group-query": () => llamaFused({ dtype: "float16" }),
  };
  test.each(Object.entries(halves))("float16, %s: relative error ≤ 1e-2", async (_, make) => {
    const model = make();
    expect(await relativeErrors(model, decoderRuns(model))).toBeLessThan(1e-2);
  });
});

describe("BERT", () => {
  const forms: Record<string, () => Model> = {
    "plain, operator": () => bertPlain(),
    "plain, chain": () => bertPlain({ layerNorm: "chain" }),
    "plain, classes": () => bertPlain({ classes: 3 }),
    fused: () => bertFused(),
    "fused, gathered, multi-head, FastGelu": () =>
      bertFused({ embedding: "gathers", attention: "multi-head", gelu: "fast-gelu" }),
    "fused, gathered": () => bertFused({ embedding: "gathers", gelu: "gelu" }),
  };
  test.each(Object.entries(forms))("%s: relative error ≤ 1e-4", async (_, make) => {
    const model = make();
    const runs = [
      encoderFeeds(model, { sequence: 6 }),
      encoderFeeds(model, { batch: 2, sequence: 5, lengths: [5, 3] }),
    ];
    expect(await relativeErrors(model, runs)).toBeLessThan(1e-4);
  });
});

describe("nodes that fusions leave, per layer", () => {
  const layers = 2;
  test("plain decoder, float16: the same nodes", async () => {
    const kinds = kindsOf(await fusedNodes(llamaPlain({ dtype: "float16" })));
    expect(kinds.get("SkipSimplifiedLayerNormalization")).toBe(2 * layers);
    expect(kinds.get("PlainAttention")).toBe(layers);
  });
  test.each(["eager", "sdpa"] as const)("plain decoder, %s", async (style) => {
    const kinds = kindsOf(await fusedNodes(llamaPlain({ style })));
    expect(kinds.get("PlainAttention")).toBe(layers);
    expect(kinds.get("Rotary")).toBe(2 * layers);
    expect(kinds.get("SiluMul")).toBe(layers);
    expect(kinds.get("SimplifiedLayerNormalization")).toBe(1);
    expect(kinds.get("SkipSimplifiedLayerNormalization")).toBe(2 * layers);
    expect(kinds.has("Softmax")).toBe(false);
  });
  test.each(["operator", "chain"] as const)(
    "plain encoder, layer norm as %s",
    async (layerNorm) => {
      const kinds = kindsOf(await fusedNodes(bertPlain({ layerNorm })));
      expect(kinds.get("PlainAttention")).toBe(layers);
      expect(kinds.get("Gelu")).toBe(layers);
      expect(kinds.get("SkipLayerNormalization")).toBe(2 * layers + 1);
      expect(kinds.has("Erf")).toBe(false);
    },
  );
});

describe("graphs that look alike stay as they are", () => {
  const rows = (x: number) => Float32Array.from({ length: 8 }, (_, i) => x + i);
  const scalar = (x: number) => Float32Array.of(x);
  const gelu = (half: number, extra?: string) => {
    const builder = graph({ opset: 18 })
      .input("x", "float32", ["n", 8])
      .output("y", "float32")
      .initializer("root", [], scalar(Math.SQRT2))
      .initializer("one", [], scalar(1))
      .initializer("half", [], scalar(half))
      .node("Div", ["x", "root"], ["a"])
      .node("Erf", ["a"], ["b"])
      .node("Add", ["b", "one"], ["c"])
      .node("Mul", ["x", "c"], ["d"])
      .node("Mul", ["d", "half"], ["y"]);
    return (extra ? builder.output(extra, "float32") : builder).model();
  };
  const norm = (axis: number, output?: string) => {
    const builder = graph({ opset: 18 })
      .input("x", "float32", ["n", 8])
      .output("y", "float32")
      .initializer("two", [], scalar(2))
      .initializer("epsilon", [], scalar(1e-5))
      .initializer("weight", [8], rows(1))
      .initializer("axes", [1], BigInt64Array.of(BigInt(axis)))
      .node("Pow", ["x", "two"], ["a"])
      .node("ReduceMean", ["a", "axes"], ["b"])
      .node("Add", ["b", "epsilon"], ["c"])
      .node("Sqrt", ["c"], ["d"])
      .node("Div", ["x", "d"], ["e"])
      .node("Mul", ["e", "weight"], ["y"]);
    return (output ? builder.output(output, "float32") : builder).model();
  };
  test.each([
    ["GELU", gelu(0.5), 1],
    ["RMS norm", norm(-1), 1],
    ["a factor that is no half", gelu(0.25), 5],
    ["an inner value of GELU is an output", gelu(0.5, "c"), 5],
    ["a mean over another axis", norm(0), 6],
    ["an inner value of the norm is an output", norm(-1, "d"), 6],
  ] as const)("%s", async (_, model, count) => {
    expect((await fusedNodes(model)).nodes).toHaveLength(count);
    const feeds: Feeds = { x: { dtype: "float32", shape: [1, 8], data: rows(-4) } };
    expect(await relativeErrors(model, [feeds])).toBeLessThan(1e-6);
  });
});
