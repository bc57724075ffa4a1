import { describe, expect, test } from "vitest";
import type { CorrectInput } from "../../src/core/correction.ts";
import { invariant } from "../../src/core/errors.ts";
import { parseFormat } from "../../src/core/format.ts";
import { dequantize, type QuantizedTensor } from "../../src/core/quantized.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { auto } from "../../src/correct/auto.ts";
import { correctWeight } from "../../src/correct/index.ts";
import { qep } from "../../src/correct/qep.ts";
import { gptq } from "../../src/quantize/gptq.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { normalMatrix, quantizeInput } from "../quantize/samples.ts";
import {
  correctInput,
  correctProblem,
  gramsOf,
  part,
  referenceObjective,
  type Streams,
  twoStreams,
} from "./samples.ts";

const format = parseFormat("int3-b16-asym");

/** Streams of `rows`, the last third held out, rounded by GPTQ. */
function sampleInput(streams: Streams, outputs: number): CorrectInput {
  const input = correctInput(streams, outputs);
  const { hessian } = input.grams;
  return {
    ...input,
    quantize: async (target) => gptq.quantize(quantizeInput(target, format, hessian)),
  };
}

/** The choice by brute force: activations of the held-out rows, every λ with its best α rounded. */
async function bruteForce(streams: Streams, input: CorrectInput) {
  const { rows } = streams;
  const split = rows - (input.holdout?.rows ?? 0);
  const fitted = part(streams, 0, split);
  const judged = part(streams, split, rows);
  const loss = (candidate: Matrix) => referenceObjective(judged, input.weight, candidate);
  const rounded = async (target: Matrix) => loss(dequantize(await input.quantize(target)));
  const none = await rounded(input.weight);
  let best = { alpha: 0, damping: 0, after: none };
  for (const damping of [1, 0.1, 0.01]) {
    let choice = { alpha: 0, target: input.weight, predicted: loss(input.weight) };
    for (const alpha of [0.25, 0.5]) {
      const given = { ...input, grams: gramsOf(fitted), options: { alpha, damping } };
      const { target } = await qep.correct(await correctProblem(given));
      const predicted = loss(target);
      if (predicted < choice.predicted) choice = { alpha, target, predicted };
    }
    if (choice.alpha === 0) continue;
    const after = await rounded(choice.target);
    if (after < best.after) best = { alpha: choice.alpha, damping, after };
  }
  return { ...best, before: none };
}

describe("the choice", () => {
  const kinds = [
    { rows: 240, noise: 0.05, linear: 0.3 },
    { rows: 240, noise: 0.05, linear: 0.03 },
    { rows: 60, noise: 0.3, linear: 0.03 },
    { rows: 30, noise: 1, linear: 0.03 },
    { rows: 30, noise: 0.05, linear: 0 },
  ];

  test.each(kinds)("equals brute force: $rows rows, noise $noise, linear $linear", async (kind) => {
    for (let seed = 1; seed <= 5; seed++) {
      const streams = twoStreams(kind.rows, 20, seed, kind.noise, kind.linear);
      const input = sampleInput(streams, 6);
      const expected = await bruteForce(streams, input);
      const { alpha, damping, heldOut } = await auto.correct(await correctProblem(input));
      expect({ alpha, damping }).toEqual({ alpha: expected.alpha, damping: expected.damping });
      if (alpha === 0) continue;
      expect(heldOut?.before).toBeCloseTo(expected.before, 3);
      expect(heldOut?.after).toBeCloseTo(expected.after, 3);
    }
  });

  test("is not the same for all of them", async () => {
    const choices = new Set<string>();
    for (const { rows, noise, linear } of kinds) {
      for (let seed = 1; seed <= 5; seed++) {
        const input = sampleInput(twoStreams(rows, 20, seed, noise, linear), 6);
        const { alpha, damping } = await auto.correct(await correctProblem(input));
        choices.add(`${alpha} ${damping}`);
      }
    }
    expect(choices).toContain("0 0");
    expect(choices.size).toBeGreaterThan(5);
  });
});

test("the target is QEP's with the chosen α and λ, fitted to all rows", async () => {
  const input = sampleInput(twoStreams(90, 20, 6, 0.3), 5);
  const { target, alpha, damping, quantized } = await auto.correct(await correctProblem(input));
  const plain = await qep.correct(await correctProblem({ ...input, options: { alpha, damping } }));
  expect(target).toEqual(plain.target);
  expect(quantized).toEqual(await input.quantize(target));
});

test("rounded, it is never worse than without a correction, held out or not, over forty layers", async () => {
  let helped = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const streams = twoStreams(12 + 3 * seed, 18, seed, 0.1 + 0.05 * seed);
    const input = sampleInput(streams, 4);
    const result = await auto.correct(await correctProblem(input));
    const plain = dequantize(await input.quantize(input.weight));
    const chosen = dequantize(await input.quantize(result.target));
    const before = referenceObjective(streams, input.weight, plain);
    const after = referenceObjective(streams, input.weight, chosen);
    expect(after).toBeLessThanOrEqual(before);
    if (result.alpha === 0) continue;
    helped++;
    expect(result.rounded?.before).toBeCloseTo(before, 3);
    expect(result.rounded?.after).toBeCloseTo(after, 3);
    const { heldOut } = result;
    expect(heldOut?.after).toBeLessThan(heldOut?.before ?? 0);
  }
  expect(helped).toBeGreaterThan(20);
});

/** Rounds like `rtn`, but spoils the calls whose number is listed: those targets come back as zeros. */
function spoiling(calls: readonly number[]): {
  readonly count: () => number;
  readonly quantize: (target: Matrix) => Promise<QuantizedTensor>;
} {
  let count = 0;
  return {
    count: () => count,
    quantize: async (target) => {
      count++;
      const data = calls.includes(count) ? new Float32Array(target.data.length) : target.data;
      return rtn.quantize(quantizeInput({ ...target, data }, format, undefined));
    },
  };
}

describe("falls back to the weight itself", () => {
  const streams = twoStreams(150, 20, 7, 0.05);

  test("when what the targets gain is lost in rounding them", async () => {
    const spoiled = spoiling([2, 3, 4]);
    const input = { ...correctInput(streams, 4), quantize: spoiled.quantize };
    const result = await auto.correct(await correctProblem(input));
    expect(spoiled.count()).toBe(4);
    expect(result).toMatchObject({ alpha: 0, damping: 0 });
    expect(result.target).toBe(input.weight);
    expect(result.quantized).toEqual(await spoiling([]).quantize(input.weight));
    expect(result.heldOut).toBeUndefined();
  });

  test("when the winner is worse on all rows", async () => {
    const spoiled = spoiling([5]);
    const input = { ...correctInput(streams, 4), quantize: spoiled.quantize };
    const result = await auto.correct(await correctProblem(input));
    expect(spoiled.count()).toBe(5);
    expect(result.target).toBe(input.weight);
    expect(result.quantized).toEqual(await spoiling([]).quantize(input.weight));
  });

  test("when the held-out rows drift the other way, without rounding anything", async () => {
    const split = 100;
    const { cols, float, quantized } = streams;
    // Beyond the split the drift is mirrored: x̂ = x − (x̂ − x).
    const mirrored = quantized.map((value, i) => (i < split * cols ? value : 2 * float[i] - value));
    const turned = { ...streams, quantized: mirrored };
    const spoiled = spoiling([]);
    const input = { ...correctInput(turned, 4), quantize: spoiled.quantize };
    const result = await auto.correct(await correctProblem(input));
    expect(spoiled.count()).toBe(0);
    expect(result).toEqual({ target: input.weight, alpha: 0, damping: 0 });
  });
});

test("of equal results the first wins: no correction, then the larger λ", async () => {
  const streams = twoStreams(150, 20, 7, 0.05);
  const constant = rtn.quantize(quantizeInput(correctInput(streams, 4).weight, format, undefined));
  const input = { ...correctInput(streams, 4), quantize: async () => constant };
  expect((await auto.correct(await correctProblem(input))).alpha).toBe(0);
  // The weight rounds badly, every other target to the same good matrix.
  const plain = spoiling([1]);
  const { weight } = input;
  const quantize = (target: Matrix) => plain.quantize(target === weight ? target : weight);
  const result = await auto.correct(await correctProblem({ ...input, quantize }));
  expect(result.damping).toBe(1);
});

describe("what the output is added to", () => {
  /** Streams of a layer's input and of what its output is added to; the latter's error follows from the inputs. */
  function addedStreams(rows: number, cols: number, outputs: number, seed: number) {
    const streams = twoStreams(rows, cols, seed, 0.05, 0.1);
    const mixing = normalMatrix(outputs, cols, seed + 1);
    const error = new Float64Array(rows * outputs);
    for (let t = 0; t < rows; t++) {
      for (let n = 0; n < outputs; n++) {
        for (let k = 0; k < cols; k++) {
          error[t * outputs + n] +=
            0.1 * mixing.data[n * cols + k] * streams.quantized[t * cols + k];
        }
      }
    }
    return { streams, error };
  }

  /** (2/T) Σ eᵀx̂ over the rows from `from` on. */
  function residualDrift(streams: Streams, error: Float64Array, from: number): Float64Array {
    const { rows, cols } = streams;
    const outputs = error.length / rows;
    const sum = new Float64Array(outputs * cols);
    for (let t = from; t < rows; t++) {
      for (let n = 0; n < outputs; n++) {
        for (let k = 0; k < cols; k++) {
          sum[n * cols + k] +=
            (2 / (rows - from)) * error[t * outputs + n] * streams.quantized[t * cols + k];
        }
      }
    }
    return sum;
  }

  /** ‖(X Wᵀ + R) − (X̂ Ŵᵀ + R̂)‖², error being R − R̂. */
  function sumError(streams: Streams, error: Float64Array, weight: Matrix, candidate: Matrix) {
    const { rows, cols, float, quantized } = streams;
    let sum = 0;
    for (let t = 0; t < rows; t++) {
      for (let n = 0; n < weight.rows; n++) {
        let difference = error[t * weight.rows + n];
        for (let k = 0; k < cols; k++) {
          difference += float[t * cols + k] * weight.data[n * cols + k];
          difference -= quantized[t * cols + k] * candidate.data[n * cols + k];
        }
        sum += difference * difference;
      }
    }
    return sum;
  }

  function added(seed: number) {
    const { streams, error } = addedStreams(150, 16, 4, seed);
    const plain = sampleInput(streams, 4);
    invariant(plain.holdout, "the sample holds rows out");
    const from = streams.rows - plain.holdout.rows;
    const input: CorrectInput = {
      ...plain,
      grams: { ...plain.grams, residualDrift: residualDrift(streams, error, 0) },
      holdout: { ...plain.holdout, residualDrift: residualDrift(streams, error, from) },
    };
    return { streams, error, plain, input };
  }

  test("auto makes up for its error, and ends nearer to the float sum than without knowing it", async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { streams, error, plain, input } = added(seed);
      const { weight } = plain;
      const rounded = async (input: CorrectInput, correction: "auto" | "none") => {
        const { target, quantized } = await correctWeight(input, correction);
        return sumError(
          streams,
          error,
          weight,
          dequantize(quantized ?? (await input.quantize(target))),
        );
      };
      const knowing = await rounded(input, "auto");
      expect(knowing).toBeLessThan(await rounded(plain, "auto"));
      expect(knowing).toBeLessThan(await rounded(input, "none"));
    }
  });

  test.each(["none", "qep", "gptaq", "qronos"] as const)("%s does not look at it", async (name) => {
    const { plain, input } = added(3);
    expect(await correctWeight(input, name)).toEqual(await correctWeight(plain, name));
  });

  test("it may drift where the layer's own input does not", async () => {
    const { input } = added(4);
    const drift = new Float64Array(16 * 16);
    const { grams, holdout } = input;
    invariant(holdout, "the sample holds rows out");
    const still = { ...input, grams: { ...grams, drift }, holdout: { ...holdout, drift } };
    expect((await correctWeight(still, "auto")).target).not.toBe(input.weight);
  });
});
