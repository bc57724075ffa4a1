import fc from "fast-check";
import { expect, test } from "vitest";
import { layerObjective } from "../../src/correct/objective.ts";
import { sharedAlgebra } from "../../src/math/algebra.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { gramsOf, referenceObjective, twoStreams } from "./samples.ts";

const algebra = await sharedAlgebra();

test("J from Gram matrices is J from activations", async () => {
  const shape = fc.record({
    rows: fc.integer({ min: 1, max: 40 }),
    cols: fc.integer({ min: 1, max: 20 }),
    outputs: fc.integer({ min: 0, max: 5 }),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(shape, async ({ rows, cols, outputs, seed }) => {
      const streams = twoStreams(rows, cols, seed);
      const weight = normalMatrix(outputs, cols, seed + 1);
      const candidate = normalMatrix(outputs, cols, seed + 2);
      const objective = await layerObjective(weight, gramsOf(streams), algebra);
      const scale = referenceObjective(streams, weight, candidate);
      const before = referenceObjective(streams, weight, weight);
      expect(Math.abs(objective.uncorrected - before)).toBeLessThanOrEqual(1e-9 * before);
      const change = await objective.change(candidate);
      expect(Math.abs(before + change - scale)).toBeLessThanOrEqual(1e-5 * scale);
    }),
    { numRuns: 50 },
  );
});

test("a small J beside a large output survives: nothing of size ‖X Wᵀ‖² is subtracted", async () => {
  const streams = twoStreams(60, 12, 4);
  const near = streams.float.map((value, i) => value + 1e-7 * streams.quantized[i]);
  const close = { ...streams, quantized: near };
  const weight = normalMatrix(3, 12, 5);
  const { uncorrected } = await layerObjective(weight, gramsOf(close), algebra);
  const expected = referenceObjective(close, weight, weight);
  expect(Math.abs(uncorrected - expected)).toBeLessThan(1e-6 * expected);
});

test("without the drift's own Gram matrix J is counted from J(W)", async () => {
  const streams = twoStreams(30, 8, 6);
  const { driftGram, ...grams } = gramsOf(streams);
  const weight = normalMatrix(2, 8, 7);
  const candidate = normalMatrix(2, 8, 8);
  const whole = await layerObjective(weight, { ...grams, driftGram }, algebra);
  const relative = await layerObjective(weight, grams, algebra);
  expect(relative.uncorrected).toBe(0);
  expect(await relative.change(candidate)).toBe(await whole.change(candidate));
});
