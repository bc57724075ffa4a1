/** The scorers that run nothing, against their formulas written out. */
import { afterAll, describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { parseFormat } from "../../src/core/format.ts";
import type { ScoreInput, Scorer } from "../../src/core/score.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { outputError, scoreLayers } from "../../src/score/index.ts";
import { monotone } from "../../src/score/losses.ts";
import { outlierShare } from "../../src/score/zd.ts";
import { referenceProduct, transpose } from "../support/reference.ts";
import { exposing, normals, numbersOf, toyTransformer } from "../support/toy-models.ts";
import { type Bench, bench, distance, widths } from "./bench.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.close());

let shared: Promise<Bench> | undefined;
/** A tied head, GPTQ as the run's quantizer: "rounded" and "quantized" differ. */
const tied = () => {
  shared ??= bench(toyTransformer({ tied: true }), runtime, { quantizer: "gptq" });
  return shared;
};

/** Every layer's losses against `formula`, which gets W, Ŵ by rounding, Ŵ by the quantizer. */
async function expectFormula(
  name: Parameters<typeof scoreLayers>[1],
  formula: (args: {
    readonly id: string;
    readonly w: Float32Array;
    readonly rounded: Float32Array;
    readonly quantized: Float32Array;
    readonly input: ScoreInput;
  }) => number,
): Promise<void> {
  const { input } = await tied();
  const scores = await scoreLayers(input, name);
  for (const { layer, formats } of input.candidates) {
    for (const [f, format] of formats.entries()) {
      const expected = formula({
        id: layer.id,
        w: (await layer.readWeight()).data,
        rounded: (await input.rounded(layer, format)).data,
        quantized: (await input.quantized(layer, format)).data,
        input,
      });
      const got = scores.get(layer.id)?.losses[f] ?? Number.NaN;
      expect(Math.abs(got / expected - 1)).toBeLessThan(1e-5);
    }
  }
}

const zeros = (w: Float32Array) => new Float32Array(w.length);

test("weight-error is ‖Ŵ − W‖² / ‖W‖² of round-to-nearest", () =>
  expectFormula("weight-error", ({ w, rounded }) => distance(w, rounded) / distance(w, zeros(w))));

test("output-error is E‖ΔW x‖² of the run's quantizer, gathered rows included", async () => {
  const { input, model, dataset } = await tied();
  const layers = new Map(input.candidates.map(({ layer }) => [layer.id, layer]));
  const activations = [...layers.values()].flatMap(({ uses }) =>
    uses.filter(({ opType }) => opType !== "Gather").map(({ activation }) => activation),
  );
  const session = await runtime.open(exposing(model, activations), { optimize: "none" });
  const x = new Map<string, number[]>(activations.map((name) => [name, []]));
  const ids: number[] = [];
  for (let i = 0; i < dataset.batches; i++) {
    const { feeds } = await dataset.batch(i);
    const results = await session.run(feeds);
    for (const [name, all] of x) all.push(...numbersOf(results[name]));
    ids.push(...numbersOf(feeds.input_ids));
  }
  await session.release();
  await expectFormula("output-error", ({ id, w, quantized }) => {
    const layer = layers.get(id);
    if (!layer) throw new Error(id);
    const { n, k } = layer;
    const delta = Array.from(w, (value, i) => quantized[i] - value);
    const energy = (matrix: ArrayLike<number>) =>
      layer.uses.reduce((sum, use) => {
        if (use.opType === "Gather") {
          const rows = ids.map((row) => Array.from(matrix).slice(row * k, (row + 1) * k));
          return sum + distance(rows.flat(), new Float32Array(rows.length * k)) / ids.length;
        }
        const all = x.get(use.activation) ?? [];
        const rows = all.length / k;
        const output = referenceProduct(all, transpose(matrix, n, k), rows, k, n);
        return sum + distance(output, new Float32Array(output.length)) / rows;
      }, 0);
    return energy(delta);
  });
});

test("hessian-trace-local is ½ · mean trace · ‖ΔW‖², with tr(H) / K and 2 / N", () =>
  expectFormula("hessian-trace-local", ({ id, w, rounded, input }) => {
    const { hessian, rowFrequency } = input.stats.get(id) ?? {};
    let trace = 0;
    if (hessian) {
      const k = Math.sqrt(hessian.length);
      for (let i = 0; i < k; i++) trace += hessian[i * k + i] / k;
    }
    if (rowFrequency) trace += 2 / rowFrequency.length;
    return (trace / 2) * distance(w, rounded);
  }));

describe("lim", () => {
  test("the importance of a block is −cos of its input and output, computed directly", async () => {
    const { input, model, dataset } = await tied();
    expect(input.blocks.map(({ input: from, output }) => [from, output])).toEqual([
      ["h0", "h1"],
      ["h1", "h2"],
    ]);
    const session = await runtime.open(exposing(model, ["h0", "h1", "h2"]));
    const h = new Map<string, number[]>([
      ["h0", []],
      ["h1", []],
      ["h2", []],
    ]);
    for (let i = 0; i < dataset.batches; i++) {
      const results = await session.run((await dataset.batch(i)).feeds);
      for (const [name, all] of h) all.push(...numbersOf(results[name]));
    }
    await session.release();
    const lims = input.blocks.map((block) => {
      const [a, b] = [h.get(block.input) ?? [], h.get(block.output) ?? []];
      const dot = a.reduce((sum, value, i) => sum + value * b[i], 0);
      return (
        -dot /
        Math.sqrt(
          distance(a, zeros(Float32Array.from(a))) * distance(b, zeros(Float32Array.from(b))),
        )
      );
    });
    const scores = await scoreLayers(input, "lim");
    for (const { layer } of input.candidates) {
      const block = input.blocks.findIndex(({ layers }) => layers.includes(layer.id));
      // The tied table is outside all blocks and takes the largest.
      const expected = block < 0 ? Math.max(...lims) : lims[block];
      expect(scores.get(layer.id)?.importance).toBeCloseTo(expected, 5);
    }
    await expectFormula("lim", ({ id, w, rounded }) => {
      const importance = scores.get(id)?.importance ?? Number.NaN;
      return (1.01 + importance) * (distance(w, rounded) / distance(w, zeros(w)));
    });
  });

  test("blocks pinned to float still count; without any statistic all layers weigh the same", async () => {
    const { input } = await tied();
    const outside = input.candidates.filter(
      ({ layer }) => !input.blocks.some(({ layers }) => layers.includes(layer.id)),
    );
    expect(outside.length).toBe(1);
    const all = await scoreLayers(input, "lim");
    const pinned = await scoreLayers({ ...input, candidates: outside }, "lim");
    const id = outside[0].layer.id;
    expect(pinned.get(id)).toEqual(all.get(id));
    const zd = await scoreLayers({ ...input, candidates: outside }, "zd");
    const plain = await scoreLayers({ ...input, candidates: outside }, "weight-error");
    expect(zd.get(id)?.losses).toEqual(plain.get(id)?.losses);
  });
});

describe("zd", () => {
  const share = (...data: number[]) =>
    outlierShare({ rows: 1, cols: data.length, data: Float32Array.from(data) });

  test("counts weights more than one standard deviation above the mean, one-sided", () => {
    // Mean 2, deviation √(2·8²/6 … ) by hand: 0,0,0,0,0,12 has mean 2 and deviation √20 ≈ 4.47: only 12 counts.
    expect(share(0, 0, 0, 0, 0, 12)).toBe(1 / 6);
    // The mirror image has one weight far below the mean and none above it by more than a deviation.
    expect(share(0, 0, 0, 0, 0, -12)).toBe(0);
    // Mean 0, deviation 1: weights at exactly one deviation do not count.
    expect(share(1, -1, 1, -1)).toBe(0);
    // Mean 0, deviation √(20/6) ≈ 1.83: 3 counts, 1 does not.
    expect(share(3, -3, 1, -1, 0, 0)).toBe(1 / 6);
    expect(share(5, 5, 5)).toBe(0);
  });

  test("a block takes the mean share of its matrices; fewer outliers weigh more", async () => {
    const { input } = await tied();
    const scores = await scoreLayers(input, "zd");
    const shares: number[] = [];
    for (const block of input.blocks) {
      const members = input.candidates.filter(({ layer }) => block.layers.includes(layer.id));
      let sum = 0;
      for (const { layer } of members) sum += outlierShare(await layer.readWeight());
      shares.push(sum / members.length);
      for (const { layer } of members)
        expect(scores.get(layer.id)?.importance).toBeCloseTo(-sum / members.length, 12);
    }
    expect(new Set(shares).size).toBe(2);
    await expectFormula("zd", ({ id, w, rounded }) => {
      const importance = scores.get(id)?.importance ?? Number.NaN;
      return (1 + importance) * (distance(w, rounded) / distance(w, zeros(w)));
    });
  });
});

describe("parts", () => {
  test("output error of rows nobody gathers is 0", async () => {
    const weight = { rows: 3, cols: 2, data: normals(6, 1) };
    const other = { ...weight, data: weight.data.map((w, i) => (i < 2 ? w : w + 1)) };
    const rowFrequency = Float64Array.of(1, 0, 0);
    expect(await outputError(weight, other, { hessian: undefined, rowFrequency })).toBe(0);
    const uniform = Float64Array.of(0.25, 0.25, 0.5);
    const even = { hessian: undefined, rowFrequency: uniform };
    expect(await outputError(weight, other, even)).toBeCloseTo(0.75 * 2, 5);
  });

  test("losses are made monotone within one block size and symmetry only", () => {
    const formats = ["int2-b16", "int2-b32-asym", "int3-b16", "int3-b32-asym", "int4-b16"];
    const candidate = { layer: {} as never, formats: formats.map(parseFormat) };
    expect(monotone(candidate, [3, 1, 4, 2, 0.5])).toEqual([3, 1, 3, 1, 0.5]);
  });
});

describe("answers of scorers are checked", () => {
  const own = (losses: number[]): Scorer => ({
    summary: "own",
    source: "own",
    needs: [],
    forward: false,
    unit: "none",
    score: async ({ candidates }) => new Map(candidates.map(({ layer }) => [layer.id, { losses }])),
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])("a loss of %d", async (bad) => {
    const { input } = await tied();
    const work = scoreLayers(input, own([1, 2, bad, 4]));
    const error = await work.catch((thrown: unknown) => thrown);
    expect(isBitloomError(error, "numeric")).toBe(true);
    expect((error as Error).message).toContain(`"${input.candidates[0].layer.id}" in int4-b16`);
  });

  test("a missing loss is the scorer's fault, an unknown name the caller's", async () => {
    const { input } = await tied();
    expect(widths.length).toBe(4);
    await expect(scoreLayers(input, own([1, 2]))).rejects.toMatchObject({
      code: "bad-option",
      detail: { option: "scorer" },
    });
    await expect(scoreLayers(input, "guess" as never)).rejects.toMatchObject({
      code: "bad-option",
      detail: { option: "scorer", got: "guess" },
    });
  });
});

test("output-error of row groups is the sum of theirs, each with its own Hessian", async () => {
  const [groups, perGroup, cols] = [3, 2, 5];
  const [w, quantized] = [1, 2].map((seed) => ({
    rows: groups * perGroup,
    cols,
    data: normals(groups * perGroup * cols, seed),
  }));
  const hessians = Array.from({ length: groups }, (_, g) => {
    const x = normals(8 * cols, 10 + g);
    return referenceProduct(transpose(x, 8, cols), x, cols, 8, cols);
  });
  const part = ({ data }: typeof w, g: number) => ({
    rows: perGroup,
    cols,
    data: data.slice(g * perGroup * cols, (g + 1) * perGroup * cols),
  });
  let expected = 0;
  for (const [g, hessian] of hessians.entries()) {
    expected += await outputError(part(w, g), part(quantized, g), {
      hessian,
      rowFrequency: undefined,
    });
  }
  const hessian = Float64Array.from(hessians.flatMap((each) => [...each]));
  const got = await outputError(w, quantized, { hessian, rowFrequency: undefined });
  expect(Math.abs(got / expected - 1)).toBeLessThan(1e-9);
});
