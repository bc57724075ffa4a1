import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { qep } from "../../src/correct/qep.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { outputResidual, ridgeLeastSquares } from "./direct.ts";
import {
  correctInput,
  correctProblem,
  gramsOf,
  noticeLog,
  referenceObjective,
  roundingSlack,
  twoStreams,
} from "./samples.ts";

function meanDiagonal(hessian: Float64Array, size: number): number {
  let trace = 0;
  for (let k = 0; k < size; k++) trace += hessian[k * size + k];
  return trace / size;
}

describe("against ridge least squares on the activations, by QR", () => {
  test.each([
    { rows: 60, cols: 12, alpha: 0.5, damping: 1 },
    { rows: 200, cols: 30, alpha: 1, damping: 0.01 },
    { rows: 9, cols: 24, alpha: 0.75, damping: 0.1 }, // fewer rows than inputs
    { rows: 5, cols: 1, alpha: 0.25, damping: 0.5 },
  ])("$rows rows, $cols inputs, α $alpha, damping $damping", async (sample) => {
    const { rows, cols, alpha, damping } = sample;
    const streams = twoStreams(rows, cols, rows);
    const input = correctInput(streams, 4, { options: { alpha, damping } });
    const { weight, grams } = input;
    const lambda = damping * meanDiagonal(grams.hessian, cols);
    const every = Array.from({ length: cols }, (_, k) => k);
    const change = ridgeLeastSquares(streams, outputResidual(streams, weight), lambda, every);
    const result = await qep.correct(await correctProblem(input));
    expect(result).toMatchObject({ alpha, damping });
    result.target.data.forEach((value, i) => {
      const step = change.get(Math.floor(i / cols), i % cols);
      expect(value).toBeCloseTo(weight.data[i] + alpha * step, 5);
    });
  });

  test("the defaults are α 0.5 and λ 1.0 · mean(diag H)", async () => {
    const input = correctInput(twoStreams(40, 10, 3), 3);
    const plain = await qep.correct(await correctProblem(input));
    const options = { alpha: 0.5, damping: 1 };
    expect(plain).toEqual(await qep.correct(await correctProblem({ ...input, options })));
  });
});

test("J falls by at least (2α − α²) tr(W C (H + λI)⁻¹ CᵀWᵀ), for every λ, also with few rows", async () => {
  const sample = fc.record({
    rows: fc.integer({ min: 2, max: 50 }),
    cols: fc.integer({ min: 1, max: 16 }),
    alpha: fc.double({ min: 0.01, max: 1, noNaN: true }),
    damping: fc.constantFrom(1e-3, 0.01, 0.1, 1, 10),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(sample, async ({ rows, cols, alpha, damping, seed }) => {
      const streams = twoStreams(rows, cols, seed, 0.5);
      const input = correctInput(streams, 3, { options: { alpha, damping } });
      const problem = await correctProblem(input);
      const { weight, grams } = problem;
      const { target } = await qep.correct(problem);
      const whole = await qep.correct({ ...problem, options: { alpha: 1, damping } });
      const descent = await problem.objective.descent();
      let pulled = 0; // tr(W C Δᵀ)
      for (let i = 0; i < descent.length; i++) {
        pulled += descent[i] * (whole.target.data[i] - weight.data[i]);
      }
      const before = referenceObjective(streams, weight, weight);
      const after = referenceObjective(streams, weight, target);
      const bound = before - (2 * alpha - alpha ** 2) * pulled;
      expect(pulled).toBeGreaterThanOrEqual(-roundingSlack(grams, whole.target));
      expect(after).toBeLessThanOrEqual(bound + roundingSlack(grams, whole.target));
    }),
    { numRuns: 60 },
  );
});

test("J falls as α grows to 1 and as λ falls to 0", async () => {
  const streams = twoStreams(30, 12, 8, 0.4);
  const input = correctInput(streams, 3);
  const objective = async (alpha: number, damping: number) => {
    const { target } = await qep.correct(
      await correctProblem({ ...input, options: { alpha, damping } }),
    );
    return referenceObjective(streams, input.weight, target);
  };
  const byAlpha = [];
  for (const alpha of [0, 0.2, 0.4, 0.6, 0.8, 1]) byAlpha.push(await objective(alpha, 0.1));
  expect(byAlpha).toEqual(byAlpha.toSorted((a, b) => b - a));
  expect(new Set(byAlpha).size).toBe(byAlpha.length);
  const byDamping = [];
  for (const damping of [10, 1, 0.1, 0.01]) byDamping.push(await objective(0.5, damping));
  expect(byDamping).toEqual(byDamping.toSorted((a, b) => b - a));
});

test("with X̂ = X + X A and no noise the full shift undoes the drift", async () => {
  const streams = twoStreams(200, 16, 9, 0);
  const input = correctInput(streams, 4, { options: { alpha: 1, damping: 1e-9 } });
  const { target } = await qep.correct(await correctProblem(input));
  const before = referenceObjective(streams, input.weight, input.weight);
  expect(referenceObjective(streams, input.weight, target)).toBeLessThan(1e-6 * before);
});

test("an undamped singular Hessian: damping is raised, with a notice each time", async () => {
  const streams = twoStreams(6, 24, 10);
  const log = noticeLog();
  const options = { alpha: 1, damping: 0, onEvent: log.onEvent };
  const input = correctInput(streams, 2, { options });
  const { target, damping } = await qep.correct(await correctProblem(input));
  expect(damping).toBe(1e-6);
  expect(log.codes).toEqual(["damping-raised"]);
  expect(target.data.every(Number.isFinite)).toBe(true);
});

test("a weight of −0 keeps its sign where the step is 0", async () => {
  const streams = twoStreams(20, 6, 11);
  const weight = normalMatrix(1, 6, 12);
  weight.data.fill(-0);
  const grams = gramsOf(streams);
  const { target } = await qep.correct(
    await correctProblem({ ...correctInput(streams, 1), weight, grams }),
  );
  expect(target.data.every((value) => Object.is(value, -0))).toBe(true);
});
