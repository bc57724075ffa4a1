import { describe, expect, test } from "vitest";
import { attention } from "../../../native/float/attention.ts";
import {
  type AttentionShape,
  type HeadStrides,
  headStrides,
  planAttention,
} from "../../../native/float/attention-plan.ts";
import { runKernel } from "../harness.ts";
import { expectWithin, randomFloats } from "./numbers.ts";

type Shape = Omit<AttentionShape, "q" | "k" | "v" | "out" | "mask">;

interface Case extends Shape {
  readonly layout?: "BSNH" | "BNSH";
  /** Rows that the caches have room for; default length. */
  readonly capacity?: number;
  readonly mask?: { readonly values: Float32Array; readonly strides: HeadStrides };
  readonly lengths?: Int32Array;
  readonly offsets?: Int32Array;
  readonly misalign?: number;
  readonly reverse?: boolean;
}

function run(one: Case) {
  const { batch, queries, heads, kvHeads = heads, headSize, valueSize = headSize, length } = one;
  const { layout = "BSNH", capacity = length, offset = length - queries, window = 0 } = one;
  const { scale = 1 / Math.sqrt(headSize), softcap = 0 } = one;
  const { mask: bias, ...shape } = one;
  const strides = {
    q: headStrides(layout, queries, heads, headSize),
    k: headStrides(layout, capacity, kvHeads, headSize),
    v: headStrides(layout, capacity, kvHeads, valueSize),
    out: headStrides(layout, queries, heads, valueSize),
    mask: bias?.strides ?? { batch: 0, head: 0, row: 0 },
  };
  const q = randomFloats(batch * queries * heads * headSize, 1).map((value) => 3 * value);
  const k = randomFloats(batch * capacity * kvHeads * headSize, 2).map((value) => 3 * value);
  const v = randomFloats(batch * capacity * kvHeads * valueSize, 3);
  const out = new Float32Array(batch * queries * heads * valueSize);
  const { items, values } = planAttention({ ...shape, ...strides });
  const arrays = {
    q,
    k,
    v,
    out,
    ...(bias && { mask: bias.values }),
    ...(one.lengths && { lengths: one.lengths }),
    ...(one.offsets && { offsets: one.offsets }),
  };
  const none = Object.fromEntries(
    ["mask", "lengths", "offsets"].filter((name) => !(name in arrays)).map((name) => [name, 0]),
  );
  runKernel({
    kernel: attention,
    arrays,
    values: { ...none, ...values },
    items,
    ...(one.misalign !== undefined && { misalign: one.misalign }),
    ...(one.reverse && {
      ranges: Array.from({ length: items }, (_, at) => [items - 1 - at, items - at] as const),
    }),
  });
  const expected = new Float64Array(out.length);
  const group = heads / kvHeads;
  const at = (of: HeadStrides, ...[b, h, r]: number[]) => b * of.batch + h * of.head + r * of.row;
  for (let b = 0; b < batch; b += 1) {
    for (let h = 0; h < heads; h += 1) {
      for (let i = 0; i < queries; i += 1) {
        const position = (one.offsets?.[b] ?? offset) + i;
        const kv = Math.floor(h / group);
        const scores: number[] = [];
        for (let j = 0; j < (one.lengths?.[b] ?? length); j += 1) {
          let dot = 0;
          for (let d = 0; d < headSize; d += 1) {
            dot += q[at(strides.q, b, h, i) + d] * k[at(strides.k, b, kv, j) + d];
          }
          dot *= scale;
          if (softcap) dot = softcap * Math.tanh(dot / softcap);
          if (bias) dot += bias.values[at(strides.mask, b, h, i) + j];
          const isHidden = (one.causal && j > position) || (window > 0 && j <= position - window);
          scores.push(isHidden ? Number.NEGATIVE_INFINITY : dot);
        }
        const most = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - most));
        const sum = weights.reduce((total, weight) => total + weight, 0);
        for (let d = 0; d < valueSize; d += 1) {
          let total = 0;
          weights.forEach((weight, j) => {
            if (weight) total += (weight / sum) * v[at(strides.v, b, kv, j) + d];
          });
          expected[at(strides.out, b, h, i) + d] = sum > 0 ? total : Number.NaN;
        }
      }
    }
  }
  return { out, expected };
}

function check(one: Case): void {
  const { out, expected } = run(one);
  expectWithin(out, expected, () => 1e-6);
}

const small = { batch: 1, queries: 1, heads: 1, headSize: 8, length: 5 };

describe("attention: |error| ≤ 1e-6 · max|v|", () => {
  test("head sizes around vectors, one row and several", () => {
    for (const headSize of [1, 3, 4, 5, 8, 31, 64])
      for (const queries of [1, 2, 4, 5]) check({ ...small, headSize, queries, length: 7 });
  });

  test("value sizes around the columns of a pass", () => {
    for (const valueSize of [1, 3, 4, 7, 8, 33, 36, 64])
      for (const queries of [1, 3]) check({ ...small, valueSize, queries });
  });

  test("lengths around the chunk of 64 keys", () => {
    for (const length of [1, 2, 3, 63, 64, 65, 130])
      for (const queries of [1, 6]) check({ ...small, length, queries, offset: 0 });
  });

  test("grouped heads, batches, both layouts, caches with room, misaligned by 4", () => {
    const shape = { batch: 2, queries: 3, heads: 6, kvHeads: 2, headSize: 12, length: 9 };
    for (const layout of ["BSNH", "BNSH"] as const) {
      check({ ...shape, layout });
      check({ ...shape, layout, capacity: 15, causal: true, misalign: 4 });
      check({ ...shape, layout, queries: 1, kvHeads: 1, capacity: 10 });
    }
  });

  test("causal, windows", () => {
    const shape = { ...small, queries: 70, length: 90, heads: 2, kvHeads: 1 };
    check({ ...shape, causal: true });
    check({ ...shape, causal: true, offset: 0 });
    check({ ...shape, causal: true, window: 1 });
    check({ ...shape, causal: true, window: 66 });
    check({ ...shape, window: 30 });
  });

  test("lengths and offsets per batch", () => {
    const lengths = Int32Array.of(3, 70, 12);
    const offsets = Int32Array.of(1, 68, 0);
    check({ ...small, batch: 3, queries: 2, length: 70, lengths, offsets, causal: true });
    check({ ...small, batch: 3, length: 70, lengths });
  });

  test("masks per batch, head and query, and broadcast; soft cap; scale", () => {
    const shape = { ...small, batch: 2, heads: 3, queries: 5, length: 70 };
    const values = randomFloats(2 * 3 * 5 * 70, 9).map((value) => 4 * value);
    check({ ...shape, mask: { values, strides: { batch: 1050, head: 350, row: 70 } } });
    check({ ...shape, mask: { values, strides: { batch: 70, head: 0, row: 0 } }, softcap: 2 });
    check({ ...shape, queries: 1, mask: { values, strides: { batch: 0, head: 70, row: 0 } } });
    check({ ...shape, softcap: 30, scale: 0.7, causal: true });
  });

  test("rows masked with the lowest number are uniform, with −∞ NaN; a −∞ chunk before others counts nothing", () => {
    const lowest = new Float32Array(70).fill(-3.4028234663852886e38);
    const none = { batch: 0, head: 0, row: 0 };
    check({ ...small, length: 70, mask: { values: lowest, strides: none } });
    const hidden = new Float32Array(70).fill(Number.NEGATIVE_INFINITY);
    check({ ...small, length: 70, mask: { values: hidden, strides: none } });
    hidden[69] = 0;
    check({ ...small, length: 70, mask: { values: hidden, strides: none } });
  });

  test.each([-3.4028234663852886e38, Number.NEGATIVE_INFINITY])(
    "chunks that a causal mask hides with %f, rows padded on either side, one row that sees nothing",
    (lowest) => {
      const [queries, length] = [150, 203];
      const shape = { ...small, batch: 2, heads: 3, queries, length };
      const values = new Float32Array(2 * queries * length);
      for (let b = 0; b < 2; b += 1) {
        for (let i = 0; i < queries; i += 1) {
          for (let j = 0; j < length; j += 1) {
            const isPadding = b === 1 ? j < 130 : j > 190;
            const isSeen = j <= i + length - queries && !isPadding && i !== 5;
            values[(b * queries + i) * length + j] = isSeen ? (j % 3) - 1 : lowest;
          }
        }
      }
      const strides = { batch: queries * length, head: 0, row: length };
      check({ ...shape, mask: { values, strides } });
      check({ ...shape, kvHeads: 1, mask: { values, strides }, softcap: 5 });
    },
  );
});

test("any split of the items gives the same bytes", () => {
  const shape = { batch: 2, queries: 9, heads: 4, kvHeads: 2, headSize: 10, length: 80 };
  const whole = run({ ...shape, causal: true });
  const split = run({ ...shape, causal: true, reverse: true });
  expect(split.out).toEqual(whole.out);
});

test("heads that do not divide are refused", () => {
  const strides = headStrides("BNSH", 1, 1, 1);
  const same = { q: strides, k: strides, v: strides, out: strides };
  expect(() => planAttention({ ...small, heads: 3, kvHeads: 2, ...same })).toThrow(/3 heads/);
});
