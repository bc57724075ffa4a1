/**
 * The generated transformers are what they claim to be: ONNX Runtime runs every one, and the differently written
 * graphs of one configuration agree.
 */
import { afterAll, describe, expect, test } from "vitest";
import type { Feeds } from "../../src/core/feeds.ts";
import { encodeModel, type Model } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { numbersOf } from "./toy-models.ts";
import {
  bertFused,
  bertPlain,
  type DecoderFamily,
  type DecoderFeedOptions,
  decoderFamilies,
  decoderFeeds,
  type EncoderFeedOptions,
  encoderFeeds,
  llama135M,
  llamaFused,
  llamaOpset23,
  llamaPlain,
  quantizedTransformer,
} from "./transformers/index.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

async function results(model: Model, runs: readonly Feeds[]): Promise<Feeds[]> {
  const session = await runtime.open(model);
  try {
    const all: Feeds[] = [];
    for (const feeds of runs) all.push(await session.run(feeds));
    return all;
  } finally {
    await session.release();
  }
}

/** Greatest |a − b|, infinite when shapes differ or a value is not finite; rows of padding are left out. */
function distance(a: Feeds, b: Feeds, leftPadding: readonly number[] = []): number {
  let worst = 0;
  for (const name of Object.keys(a)) {
    const { shape } = a[name];
    if (`${shape}` !== `${b[name].shape}`) return Number.POSITIVE_INFINITY;
    const [x, y] = [numbersOf(a[name]), numbersOf(b[name])];
    // Logits are [batch, sequence, …], caches [batch, heads, total, …]: the axis of tokens is the last but one.
    const [width, tokens] = [shape[shape.length - 1], shape[shape.length - 2]];
    for (let i = 0; i < x.length; i++) {
      const difference = Math.abs(x[i] - y[i]);
      if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
      const sample = Math.floor((i / x.length) * shape[0]);
      const isPadding = Math.floor(i / width) % tokens < (leftPadding[sample] ?? 0);
      if (!isPadding) worst = Math.max(worst, difference);
    }
  }
  return worst;
}

const families = Object.keys(decoderFamilies) as DecoderFamily[];
const decoderRuns: readonly DecoderFeedOptions[] = [
  { batch: 1, sequence: 7 },
  { batch: 2, sequence: 5 },
  { batch: 1, sequence: 4, past: 3 },
  { batch: 2, sequence: 1, past: 6 },
];

describe("decoders of one configuration agree with the plain one", () => {
  const forms = [
    { form: "plain, eager", make: llamaPlain, options: { style: "eager" } },
    { form: "group-query", make: llamaFused, options: {} },
    { form: "packed, quick-gelu", make: llamaFused, options: { packed: true, silu: "quick-gelu" } },
    { form: "rotary nodes", make: llamaFused, options: { attention: "rotary-nodes" } },
    { form: "multi-head", make: llamaFused, options: { attention: "multi-head" } },
    {
      form: "multi-head, no groups",
      make: llamaFused,
      options: { attention: "multi-head", kvHeads: 4 },
    },
    { form: "opset 23", make: llamaOpset23, options: {} },
    { form: "opset 23, flat", make: llamaOpset23, options: { layout: "flat" } },
  ] as const;
  const cases = families.flatMap((family) =>
    forms
      .filter(({ form }) => {
        const { headNorm, attentionSoftcap } = decoderFamilies[family];
        if (form.startsWith("packed")) return !headNorm;
        return !(form.startsWith("multi-head") && attentionSoftcap !== 0);
      })
      .map((one) => ({ family, ...one })),
  );
  test.each(cases)("$family, $form: within 2e-5", async ({ family, make, options }) => {
    const kvHeads = "kvHeads" in options ? { kvHeads: options.kvHeads } : {};
    const plain = llamaPlain({ family, ...kvHeads });
    const model = make({ family, ...options });
    const expected = await results(
      plain,
      decoderRuns.map((run) => decoderFeeds(plain, run)),
    );
    const got = await results(
      model,
      decoderRuns.map((run) => decoderFeeds(model, run)),
    );
    expected.forEach((one, i) => {
      expect(distance(one, got[i]), JSON.stringify(decoderRuns[i])).toBeLessThan(2e-5);
      // Flat logits would agree with anything.
      const logits = numbersOf(one.logits);
      expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(1);
    });
  });
});

describe("float16 decoders", () => {
  const forms = {
    "plain, sdpa": () => llamaPlain({ dtype: "float16" }),
    "plain, eager": () => llamaPlain({ dtype: "float16", style: "eager" }),
    "plain, gemma3": () => llamaPlain({ dtype: "float16", family: "gemma3" }),
    "group-query": () => llamaFused({ dtype: "float16" }),
    "multi-head": () => llamaFused({ dtype: "float16", attention: "multi-head" }),
    "opset 23": () => llamaOpset23({ dtype: "float16" }),
  };
  test.each(Object.entries(forms))("%s: within 0.02 of float32", async (form, make) => {
    const model = make();
    const family = form.endsWith("gemma3") ? "gemma3" : "llama";
    const wide = llamaPlain({ family });
    const runs = [
      { batch: 2, sequence: 5 },
      { batch: 2, sequence: 1 },
    ];
    const expected = await results(
      wide,
      runs.map((run) => decoderFeeds(wide, run)),
    );
    const got = await results(
      model,
      runs.map((run) => decoderFeeds(model, run)),
    );
    expect(got[0].logits.dtype).toBe("float16");
    expected.forEach((one, i) => void expect(distance(one, got[i])).toBeLessThan(0.02));
  });
});

describe("caches", () => {
  const ids = [
    [5, 80, 3, 127, 64, 9],
    [1, 2, 99, 40, 41, 7],
  ];
  const forms = {
    "plain, sdpa": { model: llamaPlain(), leftPadding: [0, 2] },
    "plain, eager": { model: llamaPlain({ style: "eager" }), leftPadding: [0, 2] },
    "multi-head": { model: llamaFused({ attention: "multi-head" }), leftPadding: [0, 2] },
    "opset 23": { model: llamaOpset23(), leftPadding: [0, 2] },
    // Its lengths count tokens from the left: no padding there.
    "group-query": { model: llamaFused(), leftPadding: [0, 0] },
  };
  test.each(Object.entries(forms))("%s: steps equal one prefill within 1e-4", async (_, form) => {
    const { model, leftPadding } = form;
    const [whole] = await results(model, [decoderFeeds(model, { ids, leftPadding })]);
    const session = await runtime.open(model);
    const width = whole.logits.shape[2];
    const length = ids[0].length;
    let cache: Feeds | undefined;
    for (let step = 0; step < length; step++) {
      const token = ids.map((row) => [row[step]]);
      const feeds = decoderFeeds(model, { ids: token, leftPadding, ...(cache ? { cache } : {}) });
      cache = await session.run(feeds);
      const [all, one] = [numbersOf(whole.logits), numbersOf(cache.logits)];
      for (let sample = 0; sample < ids.length; sample++) {
        if (step < leftPadding[sample]) continue;
        for (let i = 0; i < width; i++) {
          const wanted = all[(sample * length + step) * width + i];
          expect(Math.abs(one[sample * width + i] - wanted)).toBeLessThan(1e-4);
        }
      }
    }
    await session.release();
    const { logits: _logits, ...presents } = whole;
    expect(distance(presents, cache ?? {}, leftPadding)).toBeLessThan(1e-4);
  });

  test("left padding changes nothing for the tokens after it", async () => {
    for (const style of ["eager", "sdpa"] as const) {
      const model = llamaPlain({ style });
      const short = decoderFeeds(model, { ids: [[80, 3, 127]] });
      const padded = decoderFeeds(model, { ids: [[0, 0, 80, 3, 127]], leftPadding: [2] });
      const [a, b] = (await results(model, [short, padded])).map(({ logits }) => numbersOf(logits));
      const last = b.slice(b.length - a.length);
      a.forEach((value, i) => void expect(Math.abs(value - last[i])).toBeLessThan(1e-5));
    }
  });

  test("without cache inputs the logits are the same", async () => {
    for (const style of ["eager", "sdpa"] as const) {
      const [cached, plain] = [llamaPlain({ style }), llamaPlain({ style, cache: false })];
      expect(plain.graph.inputs.map(({ name }) => name)).toEqual(["input_ids", "attention_mask"]);
      const [{ logits: a }] = await results(cached, [decoderFeeds(cached, { batch: 2 })]);
      const [{ logits: b }] = await results(plain, [decoderFeeds(plain, { batch: 2 })]);
      expect(distance({ logits: a }, { logits: b })).toBeLessThan(1e-5);
    }
  });
});

describe("encoders of one configuration agree", () => {
  const runs: readonly EncoderFeedOptions[] = [
    { batch: 1, sequence: 9 },
    { batch: 2, sequence: 6, lengths: [6, 4] },
  ];
  const forms = {
    "plain, chain": { make: () => bertPlain({ layerNorm: "chain" }), bound: 2e-5 },
    fused: { make: () => bertFused(), bound: 2e-5 },
    "gathers, gelu": { make: () => bertFused({ embedding: "gathers", gelu: "gelu" }), bound: 2e-5 },
    "multi-head": { make: () => bertFused({ attention: "multi-head" }), bound: 2e-5 },
    "fast-gelu": { make: () => bertFused({ gelu: "fast-gelu" }), bound: 5e-3 },
    "float16, plain": { make: () => bertPlain({ dtype: "float16" }), bound: 0.02 },
    "float16, chain": {
      make: () => bertPlain({ dtype: "float16", layerNorm: "chain" }),
      bound: 0.02,
    },
  };
  test.each(Object.entries(forms))("%s", async (_, { make, bound }) => {
    const [plain, model] = [bertPlain(), make()];
    const expected = await results(
      plain,
      runs.map((run) => encoderFeeds(plain, run)),
    );
    const got = await results(
      model,
      runs.map((run) => encoderFeeds(model, run)),
    );
    expected.forEach((one, i) => {
      expect(distance(one, got[i]), JSON.stringify(runs[i])).toBeLessThan(bound);
    });
  });

  test("with pooler and classifier", async () => {
    const [plain, fused] = [bertPlain({ classes: 3 }), bertFused({ classes: 3 })];
    const [a] = await results(plain, [encoderFeeds(plain, { batch: 2 })]);
    const [b] = await results(fused, [encoderFeeds(fused, { batch: 2 })]);
    expect(a.logits.shape).toEqual([2, 3]);
    expect(distance(a, b)).toBeLessThan(2e-5);
  });
});

describe("weights", () => {
  test("follow from the seed", async () => {
    const [a, same, other] = await Promise.all(
      [1, 1, 2].map((seed) => encodeModel(llamaFused({ seed }))),
    );
    expect(Buffer.compare(a, same)).toBe(0);
    expect(Buffer.compare(a, other)).not.toBe(0);
  });

  test("of 135 M parameters cost nothing before they are saved", () => {
    const before = process.memoryUsage().arrayBuffers;
    const model = llamaFused(llama135M);
    const parameters = [...model.graph.initializers.values()]
      .filter(({ name, shape }) => shape.length > 0 && !name.endsWith("_cache"))
      .reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(parameters).toBeGreaterThan(134e6);
    expect(parameters).toBeLessThan(135e6);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10e6);
  });
});

describe("quantized", () => {
  const mixed = ["int4-b32", "int8-b32", "int3-b16-asym", "int6-b32", "int5-b32", "int2-b16-asym"];
  const cases = [
    { name: "plain", make: llamaPlain, formats: mixed, target: "portable" },
    {
      name: "plain, tied",
      make: () => llamaPlain({ tied: true }),
      formats: mixed,
      target: "portable",
    },
    { name: "group-query", make: llamaFused, formats: mixed, target: "portable" },
    { name: "opset 23", make: llamaOpset23, formats: mixed, target: "portable" },
    { name: "group-query", make: llamaFused, formats: ["int4-b32"], target: "ort" },
  ] as const;
  test.each(cases)("$name, $formats, $target: runs", async ({ make, formats, target }) => {
    const float = make();
    const { model, formats: chosen } = quantizedTransformer(float, { formats, target });
    const heads = float.graph.initializers.has("lm_head.weight") ? 1 : 0;
    expect(chosen.size).toBe(2 * 7 + 1 + heads);
    expect(new Set([...chosen.values()].map((id) => id.replace("-s32", "")))).toEqual(
      new Set(formats),
    );
    const feeds = decoderFeeds(model, { batch: 2, sequence: 5 });
    const [[got], [expected]] = [await results(model, [feeds]), await results(float, [feeds])];
    const error = distance(expected, got);
    expect(error).toBeGreaterThan(1e-3);
    expect(error).toBeLessThan(20);
  });

  test("at 8 bits the results are near", async () => {
    const float = bertPlain();
    const { model } = quantizedTransformer(float, { formats: ["int8-b32"] });
    const feeds = encoderFeeds(model, { batch: 2 });
    const [[got], [expected]] = [await results(model, [feeds]), await results(float, [feeds])];
    expect(distance(expected, got)).toBeLessThan(0.1);
  });
});
