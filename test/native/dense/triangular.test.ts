import { describe, expect, test } from "vitest";
import { solveTransposed, solveUpper, transposePanels } from "../../../native/dense/triangular.ts";
import { runKernel } from "../harness.ts";
import {
  cutUp,
  inPanels,
  inStrips,
  panelLength,
  randomDoubles,
  randomTriangle,
} from "./matrices.ts";

/** |actual − expected| ≤ 1e-12 · scale everywhere. */
function expectClose(actual: Float64Array, expected: Float64Array): void {
  const scale = Math.max(...expected.map(Math.abs));
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(1e-12 * scale);
  });
}

describe("solveUpper: X R = B inside columns first .. end", () => {
  const solve = (first: number, end: number, strips: number, piece?: number) => {
    const size = end + 4;
    const panels = randomTriangle(size, end);
    const right = randomDoubles(4 * strips * size, first + 1);
    const x = right.slice();
    runKernel({
      kernel: solveUpper,
      arrays: { x, panels },
      values: { xStep: 32 * size, first, end },
      items: strips,
      ...(piece !== undefined && { ranges: cutUp(strips, piece) }),
    });
    return { size, panels, right, x };
  };

  test.each([
    [0, 4, 1],
    [0, 8, 2],
    [4, 8, 1],
    [8, 136, 3],
    [0, 128, 2],
    [128, 132, 5],
  ])("columns %i .. %i of %i strips", (first, end, strips) => {
    const { size, panels, right, x } = solve(first, end, strips);
    const expected = right.slice();
    for (let row = 0; row < 4 * strips; row++) {
      for (let j = first; j < end; j++) {
        let sum = inStrips(right, size, row, j);
        for (let k = first; k < j; k++) {
          sum -= inStrips(expected, size, row, k) * panels[inPanels(k, j)];
        }
        expected[((row >> 2) * size + j) * 4 + (row & 3)] = sum / panels[inPanels(j, j)];
      }
    }
    expectClose(x, expected);
    // Columns outside keep their bits.
    for (let row = 0; row < 4 * strips; row++) {
      for (const j of [first - 1, end, end + 3]) {
        if (j >= 0) expect(inStrips(x, size, row, j)).toBe(inStrips(right, size, row, j));
      }
    }
  });

  test("any split gives the same bytes", () => {
    const whole = solve(4, 72, 7).x;
    for (const piece of [1, 2, 3]) expect(solve(4, 72, 7, piece).x).toEqual(whole);
  });
});

describe("solveTransposed: X Rᵀ = B for one block", () => {
  const solve = (width: number, strips: number, piece?: number) => {
    const panels = randomTriangle(width, width);
    const block = new Float64Array(width * width).fill(Number.NaN);
    for (let i = 0; i < width; i++) {
      for (let j = i; j < width; j++) {
        block[((i >> 2) * width + j) * 4 + (i & 3)] = panels[inPanels(i, j)];
      }
    }
    const step = width + 3;
    const right = randomDoubles(4 * strips * step, 5);
    const x = right.slice();
    runKernel({
      kernel: solveTransposed,
      arrays: { x, block },
      values: { xStep: 32 * step, width },
      items: strips,
      ...(piece !== undefined && { ranges: cutUp(strips, piece) }),
    });
    return { step, panels, right, x };
  };

  test.each([
    [4, 1],
    [8, 3],
    [12, 2],
    [128, 2],
  ])("%i columns of %i strips", (width, strips) => {
    const { step, panels, right, x } = solve(width, strips);
    const expected = right.slice();
    for (let row = 0; row < 4 * strips; row++) {
      for (let j = width - 1; j >= 0; j--) {
        let sum = inStrips(right, step, row, j);
        for (let k = j + 1; k < width; k++) {
          sum -= inStrips(expected, step, row, k) * panels[inPanels(j, k)];
        }
        expected[((row >> 2) * step + j) * 4 + (row & 3)] = sum / panels[inPanels(j, j)];
      }
    }
    expectClose(x, expected);
  });

  test("any split gives the same bytes", () => {
    const whole = solve(20, 7).x;
    for (const piece of [1, 2, 3]) expect(solve(20, 7, piece).x).toEqual(whole);
  });
});

describe("transposePanels", () => {
  test.each([
    [0, 4],
    [4, 4],
    [8, 12],
    [128, 8],
  ])("columns from %i, %i wide, there and back", (first, width) => {
    const size = first + width;
    const panels = randomDoubles(panelLength(size), 9);
    const strips = new Float64Array(size * width).fill(7);
    const values = { first, width };
    const items = size / 4;
    const unpack = { kernel: transposePanels, items, ranges: cutUp(items, 2) };
    runKernel({ ...unpack, arrays: { panels, strips }, values: { ...values, isUnpacked: 0 } });
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < width; j++) {
        const isStored = i < 4 * (((first + j) >> 2) + 1);
        const expected = isStored ? panels[inPanels(i, first + j)] : 7;
        expect(inStrips(strips, width, i, j)).toBe(expected);
      }
    }
    const back = new Float64Array(panels.length).fill(5);
    runKernel({
      ...unpack,
      arrays: { panels: back, strips },
      values: { ...values, isUnpacked: 1 },
    });
    const begin = inPanels(0, first);
    expect(back.subarray(begin)).toEqual(panels.subarray(begin));
    expect(back.subarray(0, begin).every((value) => value === 5)).toBe(true);
  });
});
