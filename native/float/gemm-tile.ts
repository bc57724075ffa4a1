/**
 * The innermost loops of the float32 products: rows × 8 columns of C in registers, from packed A and packed B.
 * One function per number of rows, shared by every kernel that multiplies (gemm, matmul, conv).
 *
 *   C[r, j] = clamp(start[r, j] + Σ_k A[k, r] · B[k, j])
 *
 * Invariant: a tile reads and writes its rows × 8 elements of C whole; ragged columns are the caller's business.
 */
import { FunctionBuilder, f32x4, type I32, i32, type Local, v128 } from "../assembler/index.ts";

/** Columns of a panel of B: two vectors. */
export const panelColumns = 8;
/** Bytes of one row of a panel. */
export const panelRowBytes = 4 * panelColumns;

/**
 * Parameters of a tile function, in order: packed A [k][rows] (bytes), panel of B [k][8] (bytes), 8 column biases
 * (bytes), first row bias (bytes), its step (bytes, 0 or 4), what C starts from (bytes) and its row step, C
 * (bytes) and its row step, k ≥ 1, the limits (bytes; lower × 4, upper × 4: in memory, so that they take no register
 * of the loop).
 */
const parameterTypes = [
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
  "i32",
] as const;

/**
 * Registers: 2·rows accumulators, 2 vectors of B, 1 splat of A, 1 product: 4 rows leave spare ones of the 15 that V8
 * hands out. Measured (GFLOP/s, operands in the first-level cache, Zen 5, Node 20 / 24): 4 × 8 63 / 63, 5 × 8 48 /
 * 62, 6 × 8 34 / 34 (spills), 2 × 16 60 / 63; unrolled by two, 4 × 8 falls to 38 on Node 20, which hoists the loads.
 * A relaxed multiply-add gave 58, so there is no second tier. One row alone would wait for its two additions: it sums
 * four k apart.
 */
function buildTile(rows: number): FunctionBuilder {
  const tile = new FunctionBuilder(`tile-${rows}x${panelColumns}`, parameterTypes);
  const [a, b, columnBias, rowBias, rowBiasStep, start, startStep, c, cStep, k] = Array.from(
    { length: 10 },
    (_, index) => tile.parameter(index, "i32"),
  );
  const limits = tile.parameter(10, "i32");
  const chains = rows === 1 ? 4 : 1;
  const sums = Array.from({ length: chains }, () => tile.locals(2 * rows, "v128"));
  const [left, right, factor] = tile.locals(3, "v128");
  for (let row = 0; row < rows; row += 1) {
    factor.set(v128.load32_splat(rowBias));
    [0, 1].forEach((half) => {
      const bias = f32x4.add(factor, v128.load(columnBias, 16 * half));
      sums[0][2 * row + half].set(f32x4.add(v128.load(start, 16 * half), bias));
    });
    if (row === rows - 1) continue;
    tile.advance(rowBias, rowBiasStep);
    tile.advance(start, startStep);
  }
  const step = (chain: readonly Local<"v128">[], index: number) => {
    left.set(v128.load(b, panelRowBytes * index));
    right.set(v128.load(b, panelRowBytes * index + 16));
    for (let row = 0; row < rows; row += 1) {
      factor.set(v128.load32_splat(a, 4 * (rows * index + row)));
      chain[2 * row].set(f32x4.add(chain[2 * row], f32x4.mul(factor, left)));
      chain[2 * row + 1].set(f32x4.add(chain[2 * row + 1], f32x4.mul(factor, right)));
    }
  };
  const loop = (count: I32, width: number) => {
    tile.repeat(count, () => {
      for (let index = 0; index < width; index += 1) step(sums[index], index);
      tile.advance(a, 4 * rows * width);
      tile.advance(b, panelRowBytes * width);
    });
  };
  if (chains === 1) loop(k, 1);
  else {
    const turns = tile.local("i32", i32.div_u(k, i32.const(chains)));
    tile.if(turns, () => loop(turns, chains));
    const rest = tile.local("i32", i32.rem_u(k, i32.const(chains)));
    tile.if(rest, () => loop(rest, 1));
    for (let index = 0; index < 2 * rows; index += 1) {
      const total = sums.map((chain) => chain[index]);
      while (total.length > 1) {
        for (let at = 0; at < total.length; at += 1) {
          const other = total.splice(at + 1, 1)[0];
          total[at].set(f32x4.add(total[at], other));
        }
      }
    }
  }
  for (let row = 0; row < rows; row += 1) {
    [0, 1].forEach((half) => {
      const raised = f32x4.max(sums[0][2 * row + half], v128.load(limits));
      const clamped = f32x4.min(raised, v128.load(limits, 16));
      tile.do(v128.store(c, clamped, 16 * half));
    });
    if (row < rows - 1) tile.advance(c, cStep);
  }
  return tile;
}

/** Rows of the largest tile. */
export const tileRows = 4;

/** The tile of 1, 2, … `tileRows` rows. */
export const tiles: readonly FunctionBuilder[] = Array.from({ length: tileRows }, (_, index) =>
  buildTile(index + 1),
);
