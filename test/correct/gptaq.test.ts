import { describe, expect, test } from "vitest";
import type { Matrix } from "../../src/core/tensor.ts";
import { foldFeed, gptaq } from "../../src/correct/gptaq.ts";
import { sharedAlgebra } from "../../src/math/algebra.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { columnLoop, conditional, damped } from "./direct.ts";
import {
  correctInput,
  correctProblem,
  gramsOf,
  referenceObjective,
  type Streams,
  twoStreams,
} from "./samples.ts";

const cols = 14;
const streams = twoStreams(50, cols, 1);
const columnOrder = Array.from({ length: cols }, (_, k) => k);
const { hessian, drift } = gramsOf(streams);
const descending = columnOrder.toSorted((a, b) => hessian[b * cols + b] - hessian[a * cols + a]);
const mean = columnOrder.reduce((sum, k) => sum + hessian[k * cols + k], 0) / cols;

const orders = [
  { name: "column order", order: columnOrder, activationOrder: false },
  { name: "activation order", order: descending, activationOrder: true },
];

describe.each(orders)("$name", ({ order, activationOrder }) => {
  const problem = (more: { takesFeed: boolean; alpha: number }) =>
    correctProblem(
      correctInput(streams, 3, {
        activationOrder,
        takesFeed: more.takesFeed,
        options: { alpha: more.alpha, damping: 0.01 },
      }),
    );

  test("row i of the feed is α C_iF (H + λI)_FF⁻¹ over the columns F after it", async () => {
    const given = await problem({ takesFeed: true, alpha: 0.25 });
    const { feed, alpha, damping } = await gptaq.correct(given);
    expect({ alpha, damping }).toEqual({ alpha: 0.25, damping: 0.01 });
    const matrix = damped(hessian, cols, 0.01 * mean);
    order.forEach((column, i) => {
      const rest = order.slice(i + 1);
      const row = rest.map((j) => drift[column * cols + j]);
      const expected = conditional(row, matrix, cols, rest).map((value) => 0.25 * value);
      for (let j = 0; j <= i; j++) expect(feed?.[i * cols + j]).toBe(0);
      expected.forEach((value, f) => {
        expect(feed?.[i * cols + i + 1 + f]).toBeCloseTo(value, 10);
      });
    });
  });

  test("without a column loop the target is the loop's, at zero rounding error", async () => {
    const sample = await problem({ takesFeed: false, alpha: 1 });
    const { target, feed } = await gptaq.correct(sample);
    expect(feed).toBeUndefined();
    for (let n = 0; n < 3; n++) {
      const row = sample.weight.data.slice(n * cols, (n + 1) * cols);
      const expected = columnLoop(row, hessian, 0.01 * mean, order, (value) => value, drift);
      expected.forEach((value, k) => {
        expect(target.data[n * cols + k]).toBeCloseTo(value, 5);
      });
    }
  });

  test("a column loop with the feed makes up for rounding and drift column by column", async () => {
    const sample = await problem({ takesFeed: true, alpha: 1 });
    const { feed } = await gptaq.correct(sample);
    const round = (value: number) => 0.25 * Math.round(4 * value);
    for (let n = 0; n < 3; n++) {
      const row = sample.weight.data.slice(n * cols, (n + 1) * cols);
      const expected = columnLoop(row, hessian, 0.01 * mean, order, round, drift);
      expect(loopWithFeed(row, feed ?? new Float64Array(0), order, round)).toEqual(expected);
    }
  });
});

/** The authors' loop: rounding errors spread by explicit inverses, the drift by the feed. */
function loopWithFeed(
  row: ArrayLike<number>,
  feed: Float64Array,
  order: readonly number[],
  round: (value: number) => number,
): number[] {
  const matrix = damped(hessian, cols, 0.01 * mean);
  const work = Array.from(row);
  const result = [...work];
  order.forEach((column, i) => {
    const rest = order.slice(i + 1);
    result[column] = round(work[column]);
    const wanted = rest.map((j) => (work[column] - result[column]) * hessian[column * cols + j]);
    conditional(wanted, matrix, cols, rest).forEach((value, f) => {
      work[rest[f]] += value + work[column] * feed[i * cols + i + 1 + f];
    });
  });
  return result;
}

test("the weight itself comes back beside a feed, and for α 0 without one", async () => {
  const input = correctInput(streams, 2, { takesFeed: true });
  const result = await gptaq.correct(await correctProblem(input));
  expect(result.target).toBe(input.weight);
  const off = await gptaq.correct(await correctProblem({ ...input, options: { alpha: 0 } }));
  expect(off).toEqual({ target: input.weight, alpha: 0, damping: 0 });
});

test("folding solves T (I − P) = W, across the columns folded one by one", async () => {
  const size = 150;
  const feed = Float64Array.from({ length: size * size }, (_, i) =>
    i % size > Math.floor(i / size) ? 0.1 * Math.sin(i) : 0,
  );
  const weight = normalMatrix(2, size, 5);
  const { data } = await foldFeed(await sharedAlgebra(), weight, feed, undefined);
  for (let n = 0; n < 2; n++) {
    for (let j = 0; j < size; j++) {
      let sum = data[n * size + j];
      for (let i = 0; i < j; i++) sum -= data[n * size + i] * feed[i * size + j];
      expect(sum).toBeCloseTo(weight.data[n * size + j], 5);
    }
  }
});

test("it may raise J where drifts cancel: inputs 0 and 1 drift alike, and their weights are opposite", async () => {
  // X̂ rows; X adds 1 to inputs 0 and 1 of the first row. W = [1, −1, 0] does not notice.
  const quantized = Float64Array.from([1, 2, 1, 0, 1, -1, 2, 0, 1, 1, 1, 0]);
  const float = quantized.map((value, i) => (i < 2 ? value + 1 : value));
  const example: Streams = { rows: 4, cols: 3, float, quantized };
  const weight: Matrix = { rows: 1, cols: 3, data: Float32Array.from([1, -1, 0]) };
  const input = { ...correctInput(example, 1), weight };
  expect(referenceObjective(example, weight, weight)).toBe(0);
  const { target } = await gptaq.correct(await correctProblem(input));
  expect(referenceObjective(example, weight, target)).toBeGreaterThan(0.001);
});
