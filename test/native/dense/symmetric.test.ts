import { expect, test } from "vitest";
import { symmetricItems, symmetricUpdate } from "../../../native/dense/symmetric.ts";
import { runKernel } from "../harness.ts";
import { chain, cutUp, inPanels, inStrips, panelLength, randomDoubles } from "./matrices.ts";

function run(count: number, k: number, isSubtracted: boolean, piece?: number) {
  const strips = randomDoubles(4 * count * k, count + k);
  const before = randomDoubles(panelLength(4 * count), 3);
  const c = before.slice();
  const items = symmetricItems(count);
  runKernel({
    kernel: symmetricUpdate,
    arrays: { strips, c },
    values: { stripStep: 32 * k, count, k, isSubtracted: isSubtracted ? 1 : 0 },
    items,
    ...(piece !== undefined && { ranges: cutUp(items, piece) }),
  });
  const expected = before.slice();
  for (let j = 0; j < 4 * count; j++) {
    // Tiles on the diagonal are computed whole.
    for (let i = 0; i < 4 * ((j >> 2) + 1); i++) {
      const at = inPanels(i, j);
      for (let from = 0; from < k; from += 256) {
        const block = chain(from, Math.min(from + 256, k), (one) => {
          return inStrips(strips, k, i, one) * inStrips(strips, k, j, one);
        });
        expected[at] = isSubtracted ? expected[at] - block : expected[at] + block;
      }
    }
  }
  return { c, expected };
}

test.each([
  [1, 1],
  [2, 5],
  [15, 3],
  [16, 4],
  [17, 4],
  [33, 2],
  [3, 255],
  [3, 256],
  [2, 257],
  [1, 600],
])("%i strips of %i equal the plain sums, bit for bit", (count, k) => {
  for (const isSubtracted of [true, false]) {
    const { c, expected } = run(count, k, isSubtracted);
    expect(c).toEqual(expected);
  }
});

test("any split of the items gives the same bytes", () => {
  const whole = run(50, 9, true).c;
  for (const piece of [1, 3, 4]) expect(run(50, 9, true, piece).c).toEqual(whole);
});

test("the pair of blocks is found for every item up to 65536 columns", () => {
  // What the kernel computes from an item with a square root, checked where it could be cut off wrongly.
  for (let column = 0; column < 1024; column++) {
    for (const item of [(column * (column + 1)) / 2, (column * (column + 3)) / 2]) {
      expect(Math.trunc((Math.sqrt(8 * item + 1) - 1) * 0.5)).toBe(column);
    }
  }
});
