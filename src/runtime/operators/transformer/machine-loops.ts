/**
 * Attention, rotary embedding and strided copies as plain loops over arrays: for types without kernels and for
 * constants. The definitions are those of the kernels; nothing here is meant to be fast.
 */
import type { AttentionShape, HeadStrides, RotaryShape, Walk } from "../../../../native/index.ts";
import type { NumberArray } from "../../session/storage.ts";

const place = (strides: HeadStrides, batch: number, head: number, row: number): number =>
  batch * strides.batch + head * strides.head + row * strides.row;

export function copyWalk(
  shape: readonly number[],
  from: NumberArray,
  fromWalk: Walk,
  to: NumberArray,
  toWalk: Walk,
): void {
  const walk = (axis: number, source: number, target: number) => {
    if (axis === shape.length) {
      to[target] = from[source];
      return;
    }
    for (let i = 0; i < shape[axis]; i++) {
      walk(axis + 1, source + i * fromWalk.strides[axis], target + i * toWalk.strides[axis]);
    }
  };
  walk(0, fromWalk.offset ?? 0, toWalk.offset ?? 0);
}

export function addRow(
  rows: number,
  length: number,
  from: NumberArray,
  row: NumberArray,
  to: NumberArray,
): void {
  for (let i = 0; i < rows * length; i++) to[i] = from[i] + row[i % length];
}

interface RotaryArrays {
  readonly x: NumberArray;
  readonly out: NumberArray;
  readonly cos: NumberArray;
  readonly sin: NumberArray;
  readonly ids: NumberArray | undefined;
}

/** See the rotary kernel; positions outside the cache take its nearest row. */
export function turn(shape: RotaryShape, { x, out, cos, sin, ids }: RotaryArrays): void {
  const { batch, rows, heads, headSize, rotarySize = headSize, offset = 0, cacheRows } = shape;
  const half = rotarySize / 2;
  const { cacheRow = half, cacheBatch = 0, ids: kind = "none" } = shape;
  for (let b = 0; b < batch; b++) {
    for (let r = 0; r < rows; r++) {
      let position = offset;
      if (kind === "each") position += ids?.[b * rows + r] ?? 0;
      else if (kind === "shared") position += ids?.[r] ?? 0;
      else position += r + (kind === "first" ? (ids?.[0] ?? 0) : 0);
      position = Math.max(0, Math.min(position, cacheRows - 1));
      const angle = b * cacheBatch + position * cacheRow;
      for (let h = 0; h < heads; h++) {
        const from = place(shape.x, b, h, r);
        const to = place(shape.out, b, h, r);
        for (let i = 0; i < half; i++) {
          const low = shape.interleaved ? 2 * i : i;
          const high = shape.interleaved ? low + 1 : half + i;
          const [p, q] = [x[from + low], x[from + high]];
          out[to + low] = p * cos[angle + i] - q * sin[angle + i];
          out[to + high] = q * cos[angle + i] + p * sin[angle + i];
        }
        for (let i = rotarySize; i < headSize; i++) out[to + i] = x[from + i];
      }
    }
  }
}

interface AttentionArrays {
  readonly q: NumberArray;
  readonly k: NumberArray;
  readonly v: NumberArray;
  readonly out: NumberArray;
  readonly mask: NumberArray | undefined;
  readonly lengths: NumberArray | undefined;
  readonly offsets: NumberArray | undefined;
}

const none: HeadStrides = { batch: 0, head: 0, row: 0 };

/** See the attention kernel. */
export function attend(shape: AttentionShape, arrays: AttentionArrays): void {
  const { batch, queries, heads, kvHeads = heads, headSize, valueSize = headSize } = shape;
  const { scale = 1 / Math.sqrt(headSize), softcap = 0, causal = false, window = 0 } = shape;
  const { q, k, v, out, mask, lengths, offsets } = arrays;
  for (let b = 0; b < batch; b++) {
    const length = lengths?.[b] ?? shape.length;
    const offset = offsets?.[b] ?? shape.offset ?? length - queries;
    for (let h = 0; h < heads; h++) {
      const kvHead = Math.floor(h / (heads / kvHeads));
      for (let row = 0; row < queries; row++) {
        const query = place(shape.q, b, h, row);
        const end = causal ? Math.min(length, offset + row + 1) : length;
        const begin = window > 0 ? Math.max(0, offset + row - window + 1) : 0;
        const limits = place(shape.mask ?? none, b, h, row);
        const scores: number[] = [];
        for (let j = begin; j < end; j++) {
          const key = place(shape.k, b, kvHead, j);
          let score = 0;
          for (let i = 0; i < headSize; i++) score += q[query + i] * k[key + i];
          score *= scale;
          if (softcap > 0) score = softcap * Math.tanh(score / softcap);
          scores.push(score + (mask?.[limits + j] ?? 0));
        }
        const highest = scores.reduce((a, x) => Math.max(a, x), Number.NEGATIVE_INFINITY);
        const shares = scores.map((score) => Math.exp(score - highest));
        const total = shares.reduce((sum, share) => sum + share, 0);
        const target = place(shape.out, b, h, row);
        for (let i = 0; i < valueSize; i++) {
          let sum = 0;
          for (const [j, share] of shares.entries()) {
            sum += share * v[place(shape.v, b, kvHead, begin + j) + i];
          }
          out[target + i] = sum / total;
        }
      }
    }
  }
}
