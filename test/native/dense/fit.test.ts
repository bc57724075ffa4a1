import fc from "fast-check";
import { expect, test } from "vitest";
import { fitGridRows } from "../../../native/dense/fit.ts";
import type { WeightFormat } from "../../../src/core/format.ts";
import { type Grid, minMaxGrid } from "../../../src/quantize/grid.ts";
import { trialScales } from "../../../src/quantize/trial-scales.ts";
import { everyFormat, normalMatrix } from "../../quantize/samples.ts";
import { searchGrid } from "../../support/grid-search.ts";
import { runKernel } from "../harness.ts";
import { cutUp } from "./matrices.ts";

interface Case {
  readonly weights: Float32Array;
  readonly columns: number;
  readonly format: WeightFormat;
  readonly importance?: Float64Array;
  readonly isSearched?: boolean;
  readonly ranges?: [number, number][];
}

function fitted(one: Case): Float64Array {
  const { weights, columns, format, isSearched = true } = one;
  const blockSize = format.blockSize || columns;
  const rows = weights.length / columns;
  const grids = new Float64Array(2 * rows * Math.ceil(columns / blockSize));
  const { trials, ratio } = isSearched ? trialScales[format.bits] : { trials: 0, ratio: 1 };
  runKernel({
    kernel: fitGridRows,
    arrays: {
      weights,
      grids,
      ratio: Float64Array.of(ratio),
      importance: one.importance ?? new Float64Array(columns).fill(1),
    },
    values: {
      columns,
      blockSize,
      highest: 2 ** format.bits - 1,
      isSymmetric: format.symmetric ? 1 : 0,
      isFloat16: format.scaleType === "float16" ? 1 : 0,
      trials,
    },
    items: rows,
    ...(one.ranges && { ranges: one.ranges }),
  });
  return grids;
}

function twin(one: Case): Float64Array {
  const { weights, columns, format, importance, isSearched = true } = one;
  const blockSize = format.blockSize || columns;
  const grids: number[] = [];
  for (let start = 0; start < weights.length; start += columns) {
    for (let first = 0; first < columns; first += blockSize) {
      const count = Math.min(blockSize, columns - first);
      const values = Float64Array.from(weights.subarray(start + first, start + first + count));
      const grid: Grid = { scale: 0, zeroPoint: 0 };
      if (isSearched) {
        searchGrid(values, count, format, importance?.subarray(first, first + count), grid);
      } else minMaxGrid(values, 0, count, format, grid);
      grids.push(grid.scale, grid.zeroPoint);
    }
  }
  return Float64Array.from(grids);
}

test("every format: the bits of the JavaScript twin, min-max and searched", () => {
  for (const format of everyFormat) {
    for (const columns of [1, 2, 15, 16, 33, 70]) {
      const weights = normalMatrix(2, columns, columns + format.bits).data;
      for (const isSearched of [true, false]) {
        const one = { weights, columns, format, isSearched };
        expect(fitted(one)).toEqual(twin(one));
      }
    }
  }
});

test("ties, zeros, extremes and importance: the bits of the twin", () => {
  const element = fc.oneof(
    fc.constantFrom(0, -0, 1, -1, 0.5, -0.5, 3, -3),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ min: -2, max: 2, noNaN: true }),
  );
  const block = fc.array(fc.tuple(element, fc.nat(4)), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(block, fc.constantFrom(...everyFormat), fc.boolean(), (pairs, format, weighted) => {
      const weights = Float32Array.from(pairs, ([w]) => w);
      const importance = Float64Array.from(pairs, ([, h]) => h / 3);
      const one = { weights, columns: pairs.length, format, ...(weighted && { importance }) };
      expect(fitted(one)).toEqual(twin(one));
      expect(fitted({ ...one, isSearched: false })).toEqual(twin({ ...one, isSearched: false }));
    }),
    { numRuns: 300 },
  );
});

test("any split of the rows gives the same bytes", () => {
  const { data: weights } = normalMatrix(7, 40, 1);
  const format = everyFormat[9];
  const one = { weights, columns: 40, format };
  for (const piece of [1, 2, 3]) {
    expect(fitted({ ...one, ranges: cutUp(7, piece) })).toEqual(fitted(one));
  }
});
