import { describe, expect, test } from "vitest";
import { type HeadStrides, headStrides } from "../../../native/float/attention-plan.ts";
import { planRotary, type RotaryShape, rotary } from "../../../native/float/rotary.ts";
import { runKernel } from "../harness.ts";
import { epsilon, expectWithin, randomFloats } from "./numbers.ts";

interface Case extends Omit<RotaryShape, "x" | "out" | "cacheRows"> {
  readonly layouts?: readonly ["BSNH" | "BNSH", "BSNH" | "BNSH"];
  readonly idValues?: Float64Array;
  readonly cacheRows?: number;
  readonly inPlace?: boolean;
  readonly misalign?: number;
  readonly reverse?: boolean;
}

function turn(one: Case) {
  const { batch, rows, heads, headSize, rotarySize = headSize, cacheRows = 20 } = one;
  const { layouts = ["BSNH", "BSNH"], inPlace, ids = "none", offset = 0 } = one;
  const half = rotarySize / 2;
  const { cacheRow = half, cacheBatch = 0 } = one;
  const [from, to] = layouts.map((layout) => headStrides(layout, rows, heads, headSize));
  const x = randomFloats(batch * rows * heads * headSize, 1);
  const given = x.slice();
  const out = inPlace ? x : new Float32Array(x.length);
  const cacheLength = cacheRows * cacheRow + (batch - 1) * cacheBatch;
  const cos = randomFloats(cacheLength, 2);
  const sin = randomFloats(cacheLength, 3);
  const { items, values } = planRotary({ ...one, cacheRows, x: from, out: to });
  runKernel({
    kernel: rotary,
    arrays: { x, out, cos, sin, ...(one.idValues && { ids: one.idValues }) },
    values: { ...values, ...(!one.idValues && { ids: 0 }) },
    items,
    ...(one.misalign !== undefined && { misalign: one.misalign }),
    ...(one.reverse && {
      ranges: Array.from({ length: items }, (_, at) => [items - 1 - at, items - at] as const),
    }),
  });
  const expected = new Float64Array(x.length);
  const bound = new Float64Array(x.length);
  const at = (of: HeadStrides, b: number, h: number, r: number) =>
    b * of.batch + h * of.head + r * of.row;
  for (let b = 0; b < batch; b += 1) {
    for (let r = 0; r < rows; r += 1) {
      const id = {
        none: () => r,
        first: () => id0() + r,
        shared: () => idAt(r),
        each: () => idAt(b * rows + r),
      };
      const idAt = (index: number) => one.idValues?.[index] ?? 0;
      const id0 = () => idAt(0);
      const position = Math.min(Math.max(id[ids]() + offset, 0), cacheRows - 1);
      for (let h = 0; h < heads; h += 1) {
        for (let d = 0; d < headSize; d += 1) {
          expected[at(to, b, h, r) + d] = given[at(from, b, h, r) + d];
        }
        for (let i = 0; i < half; i += 1) {
          const [one1, two] = one.interleaved ? [2 * i, 2 * i + 1] : [i, half + i];
          const [c, s] = [cos, sin].map((cache) => cache[b * cacheBatch + position * cacheRow + i]);
          const [p, q] = [one1, two].map((d) => given[at(from, b, h, r) + d]);
          expected[at(to, b, h, r) + one1] = p * c - q * s;
          expected[at(to, b, h, r) + two] = q * c + p * s;
          for (const d of [one1, two]) {
            bound[at(to, b, h, r) + d] = 2 * epsilon * (Math.abs(p) + Math.abs(q));
          }
        }
      }
    }
  }
  return { out, expected, bound };
}

function check(one: Case): void {
  const { out, expected, bound } = turn(one);
  expectWithin(out, expected, (index) => bound[index]);
}

const small = { batch: 2, rows: 3, heads: 2, headSize: 16 };

describe("rotary: |error| ≤ 2 · 2⁻²³ · (|x[a]| + |x[b]|)", () => {
  test("head sizes around vectors, whole and partial, both pairings, in place", () => {
    for (const interleaved of [false, true])
      for (const headSize of [2, 6, 8, 10, 32, 64])
        for (const rotarySize of [2, headSize])
          for (const inPlace of [false, true])
            check({ ...small, headSize, rotarySize, interleaved, inPlace });
  });

  test("layouts in and out, misaligned by 4", () => {
    check({ ...small, layouts: ["BSNH", "BNSH"], misalign: 4, interleaved: true });
    check({ ...small, layouts: ["BNSH", "BSNH"], rotarySize: 12, misalign: 4 });
  });

  test("positions: ids per row, shared, first, offset, caches per batch and with longer rows", () => {
    const idValues = Float64Array.of(4, 0, 7, 19, 2, 2);
    check({ ...small, ids: "each", idValues, misalign: 8 });
    check({ ...small, ids: "shared", idValues, offset: 1 });
    check({ ...small, ids: "first", idValues });
    check({ ...small, offset: 5 });
    check({ ...small, cacheRow: 16, cacheBatch: 160, cacheRows: 10 });
  });

  test("positions outside the cache take its nearest row", () => {
    const idValues = Float64Array.of(-3, 20, 1e12);
    check({ ...small, ids: "shared", idValues });
  });
});

test("any split of the items gives the same bytes", () => {
  expect(turn({ ...small, reverse: true }).out).toEqual(turn(small).out);
});

test("odd and too large rotary sizes are refused", () => {
  const strides = headStrides("BSNH", 1, 1, 8);
  const shape = {
    batch: 1,
    rows: 1,
    heads: 1,
    headSize: 8,
    cacheRows: 1,
    x: strides,
    out: strides,
  };
  expect(() => planRotary({ ...shape, rotarySize: 3 })).toThrow(/rotary size 3/);
  expect(() => planRotary({ ...shape, rotarySize: 10 })).toThrow(/rotary size 10/);
});
