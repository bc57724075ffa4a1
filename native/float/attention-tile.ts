/**
 * The two products inside attention, for one or four query rows at a time against a chunk of keys: scores = q · kᵀ
 * and output += probabilities · v. Scores lie as [key][4 rows], so that the softmax works on whole vectors.
 * Invariant: only elements of the chunk's keys and values are read; a key row needs no padding.
 */
import {
  FunctionBuilder,
  f32x4,
  i8x16,
  i32,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";

/** Lanes of a score vector. */
export const rowsPerTile = 4;

const evenOdd = (a: V128, b: V128) =>
  f32x4.add(
    i8x16.shuffle(a, b, [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]),
    i8x16.shuffle(a, b, [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31]),
  );
const joinHalves = (a: V128, b: V128) =>
  f32x4.add(
    i8x16.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]),
    i8x16.shuffle(a, b, [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]),
  );

/** The sums over the lanes of four vectors, as the lanes of one. */
const sumLanes = ([a, b, c, d]: readonly V128[]) => joinHalves(evenOdd(a, b), evenOdd(c, d));

/**
 * scores[key][row] = Σ_d q[row][d] · k[key][d]
 *
 * Parameters: q (packed: [d / 4][rows] vectors, then [d % 4][rows] vectors with the element in lane 0), k (bytes),
 * bytes from key to key, d, keys ≥ 1, scores (room for keys rounded up to 4).
 * Registers: rows × keys accumulators, 4 × 2 or 1 × 4, so that additions do not wait for each other.
 */
function buildScores(rows: 1 | 4): FunctionBuilder {
  const keysAtOnce = rows === 1 ? 4 : 2;
  const code = new FunctionBuilder(`attention-scores-${rows}`, Array(6).fill("i32"));
  const [q, k, kStep, size, keys, scores] = Array.from({ length: 6 }, (_, index) =>
    code.parameter(index, "i32"),
  );
  const [key, at] = code.locals(2, "i32");
  const pointers = code.locals(keysAtOnce, "i32");
  const loaded = code.locals(keysAtOnce, "v128");
  const factor = code.local("v128");
  const sums = pointers.map(() => code.locals(rows, "v128"));
  const last = code.local("i32", i32.sub(keys, i32.const(1)));
  const fours = code.local("i32", i32.shr_u(size, i32.const(2)));
  const ones = code.local("i32", i32.and(size, i32.const(3)));
  const accumulate = (load: (pointer: Local<"i32">) => V128, bytes: number) => {
    loaded.forEach((vector, index) => {
      vector.set(load(pointers[index]));
      code.advance(pointers[index], bytes);
    });
    for (let row = 0; row < rows; row += 1) {
      factor.set(v128.load(at, 16 * row));
      sums.forEach((sum, index) => {
        sum[row].set(f32x4.add(sum[row], f32x4.mul(factor, loaded[index])));
      });
    }
    code.advance(at, 16 * rows);
  };
  code.for(key, keys, keysAtOnce, () => {
    pointers.forEach((pointer, index) => {
      const nth = minimum(i32.add(key, i32.const(index)), last);
      pointer.set(i32.add(k, i32.mul(nth, kStep)));
      for (const sum of sums[index]) sum.set(v128.zero());
    });
    at.set(q);
    code.if(fours, () => code.repeat(fours, () => accumulate((from) => v128.load(from), 16)));
    code.if(ones, () => code.repeat(ones, () => accumulate((from) => v128.load32_zero(from), 4)));
    if (rows === 4) {
      sums.forEach((sum, index) => {
        code.do(v128.store(scores, sumLanes(sum), 16 * index));
      });
    } else {
      factor.set(sumLanes(sums.flat()));
      pointers.forEach((_, index) => {
        const lanes = Array.from({ length: 16 }, (_, byte) => 4 * index + (byte % 4));
        code.do(v128.store(scores, i8x16.shuffle(factor, factor, lanes), 16 * index));
      });
    }
    code.advance(scores, 16 * keysAtOnce);
  });
  return code;
}

/**
 * sums[row][d] = sums[row][d] · decay[row] + Σ_key p[key][row] · v[key][d]
 *
 * Parameters: p [key][4], v (bytes), bytes from value row to value row, d, keys ≥ 1, sums, bytes from row to row
 * of sums, decay (bytes; 4 float32).
 * Numerics: a chunk is summed on its own first, so the error grows with keys per chunk + chunks.
 */
function buildValues(rows: 1 | 4): FunctionBuilder {
  const vectors = rows === 1 ? 8 : 2;
  const code = new FunctionBuilder(`attention-values-${rows}`, Array(8).fill("i32"));
  const [p, v, vStep, size, keys, sums, sumStep, decay] = Array.from({ length: 8 }, (_, index) =>
    code.parameter(index, "i32"),
  );
  const end = code.local("i32", i32.add(v, elementsToBytes(size)));
  const totals = code.locals(rows * vectors, "v128");
  const loaded = code.locals(vectors, "v128");
  const factor = code.local("v128");
  const [from, weight, to] = code.locals(3, "i32");
  /** Columns of `count` vectors, or of one element. */
  const columns = (
    count: number,
    load: typeof v128.load,
    store: (to: typeof from, value: V128, offset: number) => ReturnType<typeof v128.store>,
  ) => {
    const used = totals.slice(0, rows * count);
    for (const total of used) total.set(v128.zero());
    from.set(v);
    weight.set(p);
    code.repeat(keys, () => {
      for (let index = 0; index < count; index += 1) loaded[index].set(load(from, 16 * index));
      for (let row = 0; row < rows; row += 1) {
        factor.set(v128.load32_splat(weight, 4 * row));
        for (let index = 0; index < count; index += 1) {
          const total = used[row * count + index];
          total.set(f32x4.add(total, f32x4.mul(factor, loaded[index])));
        }
      }
      code.advance(from, vStep);
      code.advance(weight, 4 * rowsPerTile);
    });
    to.set(sums);
    for (let row = 0; row < rows; row += 1) {
      factor.set(v128.load32_splat(decay, 4 * row));
      for (let index = 0; index < count; index += 1) {
        const before = f32x4.mul(factor, load(to, 16 * index));
        code.do(store(to, f32x4.add(before, used[row * count + index]), 16 * index));
      }
      if (row < rows - 1) code.advance(to, sumStep);
    }
  };
  const walk = (elements: number, body: () => void) => {
    const limit = i32.sub(end, i32.const(4 * (elements - 1)));
    code.while(i32.lt_u(v, limit), () => {
      body();
      code.advance(v, 4 * elements);
      code.advance(sums, 4 * elements);
    });
  };
  walk(4 * vectors, () => columns(vectors, v128.load, v128.store));
  walk(4, () => columns(1, v128.load, v128.store));
  walk(1, () =>
    columns(1, v128.load32_zero, (address, value, offset) =>
      v128.store32_lane(address, value, 0, offset),
    ),
  );
  return code;
}

/** By the number of rows. */
export const scoreTiles = { 1: buildScores(1), 4: buildScores(4) } as const;
export const valueTiles = { 1: buildValues(1), 4: buildValues(4) } as const;
