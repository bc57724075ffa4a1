import fc from "fast-check";
import { Matrix as Dense, EigenvalueDecomposition } from "ml-matrix";
import { describe, expect, test } from "vitest";
import { largestEigenvalue, qronos } from "../../src/correct/qronos.ts";
import { correlatedHessian } from "../quantize/samples.ts";
import { referenceInverse } from "../support/reference.ts";
import {
  columnLoop,
  damped,
  outputResidual,
  ridgeLeastSquares,
  rowTimes,
  submatrix,
} from "./direct.ts";
import {
  correctInput,
  correctProblem,
  gramsOf,
  referenceObjective,
  roundingSlack,
  twoStreams,
} from "./samples.ts";

const cols = 14;
const outputs = 3;
const streams = twoStreams(60, cols, 2);
const { hessian, drift } = gramsOf(streams);
const columnOrder = Array.from({ length: cols }, (_, k) => k);
const descending = columnOrder.toSorted((a, b) => hessian[b * cols + b] - hessian[a * cols + a]);
const mean = columnOrder.reduce((sum, k) => sum + hessian[k * cols + k], 0) / cols;

const orders = [
  { name: "column order", order: columnOrder, activationOrder: false },
  { name: "activation order", order: descending, activationOrder: true },
];

describe.each(orders)("$name", ({ order, activationOrder }) => {
  const input = correctInput(streams, outputs, { activationOrder });
  const [first, ...rest] = order;

  test("the first column is best while the others stay, the others are best after that", async () => {
    const { target, damping, alpha } = await qronos.correct(await correctProblem(input));
    expect(alpha).toBe(1);
    const residual = outputResidual(streams, input.weight);
    const change = ridgeLeastSquares(streams, residual, 0, [first]);
    const left = outputResidual(streams, input.weight, change);
    change.add(ridgeLeastSquares(streams, left, damping * mean, rest));
    target.data.forEach((value, i) => {
      const expected = input.weight.data[i] + change.get(Math.floor(i / cols), i % cols);
      expect(value).toBeCloseTo(expected, 4);
    });
  });

  test("GPTQ's column loop on the target is the paper's algorithm, code for code", async () => {
    const { target, damping } = await qronos.correct(await correctProblem(input));
    const lambda = damping * mean;
    const round = (value: number) => 0.125 * Math.round(8 * value);
    for (let n = 0; n < outputs; n++) {
      const at = [n * cols, (n + 1) * cols] as const;
      const expected = textbook(input.weight.data.slice(...at), lambda, order, round);
      const actual = columnLoop(target.data.slice(...at), hessian, lambda, order, round);
      expect(actual).toEqual(expected);
    }
  });
});

/** One row through Qronos as published: G = X X̂ᵀ, a first step, then GPTQ's diffusion over the other columns. */
function textbook(
  row: ArrayLike<number>,
  lambda: number,
  order: readonly number[],
  round: (value: number) => number,
): number[] {
  const [first, ...rest] = order;
  const cross = hessian.map((value, i) => value + drift[i]);
  const wCross = rowTimes(row, cross);
  let held = 0;
  for (const k of rest) held += row[k] * hessian[k * cols + first];
  const rounded = round((wCross[first] - held) / hessian[first * cols + first]);
  const wDamped = rowTimes(row, damped(cross, cols, lambda));
  const right = rest.map((j) => wDamped[j] - rounded * hessian[first * cols + j]);
  const matrix = damped(hessian, cols, lambda);
  const inverse = referenceInverse(submatrix(matrix, cols, rest, rest), rest.length);
  const target = rowTimes(right, inverse);
  const steps = rest.map((_, i) => i);
  const tail = columnLoop(target, submatrix(hessian, cols, rest, rest), lambda, steps, round);
  const result = new Array<number>(cols).fill(rounded);
  rest.forEach((k, i) => {
    result[k] = tail[i];
  });
  return result;
}

test("never raises J on the rows it was fitted on", async () => {
  const sample = fc.record({
    rows: fc.integer({ min: 2, max: 50 }),
    width: fc.integer({ min: 1, max: 16 }),
    damping: fc.constantFrom(1e-6, 1e-3, 0.1),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(sample, async ({ rows, width, damping, seed }) => {
      const random = twoStreams(rows, width, seed, 0.5);
      const given = correctInput(random, 3, { options: { damping } });
      const { target } = await qronos.correct(await correctProblem(given));
      const before = referenceObjective(random, given.weight, given.weight);
      const after = referenceObjective(random, given.weight, target);
      expect(after).toBeLessThanOrEqual(before + roundingSlack(given.grams, target));
    }),
    { numRuns: 60 },
  );
});

describe("largest eigenvalue", () => {
  test.each([1, 2, 7, 40])("of a %i × %i Hessian, from below", (size) => {
    const matrix = correlatedHessian(size, size);
    const dense = Dense.from1DArray(size, size, matrix);
    const exact = Math.max(...new EigenvalueDecomposition(dense).realEigenvalues);
    const estimate = largestEigenvalue(matrix, size);
    expect(estimate).toBeLessThanOrEqual(exact * (1 + 1e-12));
    expect(estimate).toBeGreaterThan(0.98 * exact);
  });

  test("of zeros is 0", () => {
    expect(largestEigenvalue(new Float64Array(9), 3)).toBe(0);
  });
});

test("λ is 10⁻⁶ σ_max", async () => {
  const { damping } = await qronos.correct(await correctProblem(correctInput(streams, 1)));
  expect(damping * mean).toBeCloseTo(1e-6 * largestEigenvalue(hessian, cols), 12);
});

test("a first column that is dead is left alone", async () => {
  const silent = { ...streams, quantized: streams.quantized.map((v, i) => (i % cols ? v : 0)) };
  const input = correctInput(silent, outputs);
  const { target } = await qronos.correct(await correctProblem(input));
  for (let n = 0; n < outputs; n++) {
    expect(target.data[n * cols]).toBe(input.weight.data[n * cols]);
    expect(target.data[n * cols + 1]).not.toBe(input.weight.data[n * cols + 1]);
  }
});
