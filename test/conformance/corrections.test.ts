/**
 * What every registered correction must do. A new one is tested the moment its line in the registry exists.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CorrectInput, Correction } from "../../src/core/correction.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import { parseFormat } from "../../src/core/format.ts";
import type { Quantizer } from "../../src/core/method.ts";
import { dequantize } from "../../src/core/quantized.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { corrections, correctWeight } from "../../src/correct/index.ts";
import { quantizers } from "../../src/quantize/index.ts";
import {
  correctInput,
  correctProblem,
  layer,
  referenceObjective,
  roundingSlack,
  type Streams,
  twoStreams,
} from "../correct/samples.ts";
import { quantizeInput } from "../quantize/samples.ts";

const registry: readonly [string, Correction][] = Object.entries(corrections);

/** Corrections that may raise J on the rows they were fitted on, and why. */
const mayRaiseObjective: Readonly<Record<string, string>> = {
  gptaq:
    "makes up for each input's drift on its own, so drifts that cancel in the sum cancel no more",
};

const problem = fc
  .record({
    rows: fc.integer({ min: 3, max: 60 }),
    cols: fc.constantFrom(1, 2, 5, 16, 24),
    outputs: fc.integer({ min: 1, max: 5 }),
    takesFeed: fc.boolean(),
    activationOrder: fc.boolean(),
    noise: fc.constantFrom(0, 0.1, 1),
    seed: fc.nat(),
  })
  .map(({ rows, cols, outputs, takesFeed, activationOrder, noise, seed }) => {
    const streams = twoStreams(rows, cols, seed, noise);
    return { streams, input: correctInput(streams, outputs, { takesFeed, activationOrder }) };
  });

describe.each(registry)("%s", (name, correction) => {
  test("describes itself", () => {
    expect(correction.summary).toMatch(/^\S.*[^.]$/);
    expect(correction.source).not.toBe("");
    for (const value of Object.values(correction.parameters)) {
      expect(Number.isFinite(value)).toBe(true);
    }
  });

  test("gives finite weights of the same shape, and what J they have", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ streams, input }) => {
        const result = await correctWeight(input, correction);
        const { target, feed, objective, alpha, damping } = result;
        expect(target).toMatchObject({ rows: input.weight.rows, cols: input.weight.cols });
        expect(target.data.every(Number.isFinite)).toBe(true);
        expect(Number.isFinite(alpha) && Number.isFinite(damping)).toBe(true);
        if (feed) {
          expect(input.takesFeed).toBe(true);
          expect(feed.every(Number.isFinite)).toBe(true);
          return;
        }
        const slack = roundingSlack(input.grams, target);
        const before = referenceObjective(streams, input.weight, input.weight);
        const after = referenceObjective(streams, input.weight, target);
        expect(Math.abs(objective.before - before)).toBeLessThanOrEqual(slack);
        expect(Math.abs(objective.after - after)).toBeLessThanOrEqual(slack);
      }),
      { numRuns: 40 },
    );
  });

  test.skipIf(name in mayRaiseObjective)(
    "never raises the layer's objective on the rows it was fitted on",
    async () => {
      await fc.assert(
        fc.asyncProperty(problem, async ({ streams, input }) => {
          const { target } = await correctWeight(input, correction);
          const before = referenceObjective(streams, input.weight, input.weight);
          const after = referenceObjective(streams, input.weight, target);
          expect(after).toBeLessThanOrEqual(before + roundingSlack(input.grams, target));
        }),
        { numRuns: 60 },
      );
    },
  );

  test.skipIf(name === "none")("lowers it clearly where the drift is linear", async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { objective } = await correctWeight(
        correctInput(twoStreams(120, 24, seed, 0.02), 4),
        correction,
      );
      expect(objective.after).toBeLessThan(0.8 * objective.before);
    }
  });

  test("same input, same output, and the input is left alone", async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ input }) => {
        const copy = structuredClone({ weight: input.weight, grams: input.grams });
        const holdout = structuredClone(input.holdout);
        const first = await correctWeight(input, correction);
        expect(await correctWeight({ ...input, ...copy, holdout }, correction)).toEqual(first);
        expect({ weight: input.weight, grams: input.grams }).toEqual(copy);
        expect(input.holdout).toEqual(holdout);
      }),
      { numRuns: 20 },
    );
  });

  test("streams that agree give the weight back, from the stage and from the method", async () => {
    const streams = twoStreams(40, 12, 3);
    const input = correctInput({ ...streams, quantized: streams.float }, 3);
    const staged = await correctWeight(input, correction);
    expect(staged.target).toBe(input.weight);
    expect(staged).toMatchObject({ alpha: 0, objective: { before: 0, after: 0 } });
    const { target } = await correction.correct(await correctProblem(input));
    expect(bits(target.data)).toEqual(bits(input.weight.data));
  });

  test.skipIf(correction.parameters.alpha === undefined)(
    "α = 0 gives the weight back",
    async () => {
      const input = correctInput(twoStreams(40, 12, 4), 3, { options: { alpha: 0 } });
      for (const takesFeed of [true, false]) {
        const result = await correctWeight({ ...input, takesFeed }, correction);
        expect(result.target).toBe(input.weight);
        expect(result.feed).toBeUndefined();
      }
    },
  );

  test("an input that is always zero keeps its weights, bit for bit", async () => {
    const streams = silenced(twoStreams(60, 12, 5), [0, 7]);
    const input = correctInput(streams, 3);
    // Statistics summed elsewhere may leave dust where zeros belong.
    input.grams.drift[5 * 12 + 7] = 0.01;
    input.weight.data[7] = -0;
    const { target } = await correctWeight(input, correction);
    for (const column of [0, 7]) {
      for (let n = 0; n < 3; n++) {
        const at = n * 12 + column;
        expect(Object.is(target.data[at], input.weight.data[at])).toBe(true);
      }
    }
  });

  test("fewer rows than inputs, rows of zeros, no rows at all", async () => {
    const streams = twoStreams(6, 24, 6, 0.5);
    const input = correctInput(streams, 3);
    input.weight.data.fill(0, 24, 48);
    const { target, feed } = await correctWeight(input, correction);
    expect(target.data.every(Number.isFinite)).toBe(true);
    expect(target.data.subarray(24, 48).every((w) => w === 0)).toBe(true);
    expect(feed).toBeUndefined();
    const empty = { rows: 0, cols: 24, data: new Float32Array(0) };
    const nothing = await correctWeight({ ...input, weight: empty }, correction);
    expect(nothing.target).toEqual(empty);
  });

  test.each([
    ["weight", "row 1, column 3"],
    ["hessian", "row 2, column 3"],
    ["drift", "row 2, column 3"],
    ["held-out drift", "row 2, column 3"],
  ])("a %s that is not finite is a numeric error that names the layer", async (where, place) => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const input = correctInput(twoStreams(30, 8, 7), 2);
      const at = { weight: 8 + 3 }[where] ?? 2 * 8 + 3;
      arrayOf(input, where)[at] = bad;
      try {
        await correctWeight(input, correction);
        expect.unreachable();
      } catch (error) {
        expect(isBitloomError(error, "numeric")).toBe(true);
        expect(error).toMatchObject({ detail: { layer } });
        expect(String(error)).toContain(`"${layer}"`);
        expect(String(error)).toContain(place);
      }
    }
  });

  test.each(Object.keys(quantizers))("works with the quantizer %s", async (quantizer) => {
    const streams = twoStreams(80, 32, 8, 0.05);
    const method: Quantizer = quantizers[quantizer as keyof typeof quantizers];
    const takesFeed = method.takesFeed === true;
    const plain = correctInput(streams, 6, { takesFeed });
    const round = (target: Matrix, feed?: Float64Array) => {
      const input = quantizeInput(target, parseFormat("int4-b16"), plain.grams.hessian);
      return Promise.resolve(method.quantize({ ...input, feed }));
    };
    const result = await correctWeight(
      { ...plain, quantize: (target) => round(target) },
      correction,
    );
    const before = dequantize(await round(plain.weight));
    const after = dequantize(await round(result.target, result.feed));
    if (result.quantized) expect(result.quantized).toEqual(await round(result.target));
    const loss = (matrix: Matrix) => referenceObjective(streams, plain.weight, matrix);
    if (name === "none") expect(after).toEqual(before);
    else expect(loss(after)).toBeLessThan(loss(before));
  });
});

test("exceptions name registered corrections", () => {
  expect(Object.keys(corrections)).toEqual(expect.arrayContaining(Object.keys(mayRaiseObjective)));
});

/** The same streams with inputs that are 0 in every row of the quantized one. */
function silenced(streams: Streams, inputs: readonly number[]): Streams {
  const { cols } = streams;
  return {
    ...streams,
    quantized: streams.quantized.map((value, i) => (inputs.includes(i % cols) ? 0 : value)),
  };
}

/** Bit patterns, so that 0 and −0 differ. */
function bits(data: Float32Array): Uint32Array {
  return new Uint32Array(data.slice().buffer);
}

function arrayOf(input: CorrectInput, where: string): Float32Array | Float64Array {
  if (where === "weight") return input.weight.data;
  if (where === "hessian") return input.grams.hessian;
  const rows = where === "drift" ? input.grams : input.holdout;
  return rows?.drift ?? new Float64Array(0);
}
