/**
 * The innermost loop of every float64 product: a tile of 4 × 4 from two strips.
 *
 *   C[i, j] = start + Σ_k A[k][i] · B[k][j]
 *
 * A is read element by element, B in vectors of two. Invariant: k runs upwards in one chain per element, so the sum
 * does not depend on where the tile lies in a matrix.
 */
import { FunctionBuilder, f64x2, type Local, v128 } from "../assembler/index.ts";
import { stripLines, stripRowBytes } from "./layout.ts";

export type TileMode = "store" | "add" | "subtract";

/**
 * Parameters: strip of A, strip of B, k ≥ 1, C, bytes from row to row of C. A row of C is four float64.
 *
 * Registers: 8 accumulators, 2 vectors of B, 1 splat of A, 1 product. C is read after the loop: the sum over k is
 * rounded on its own, then added, which keeps long sums in blocks of k accurate.
 */
function buildTile(mode: TileMode): FunctionBuilder {
  const tile = new FunctionBuilder(`f64-tile-${mode}`, ["i32", "i32", "i32", "i32", "i32"]);
  const [a, b, k, c, cStep] = Array.from({ length: 5 }, (_, index) => tile.parameter(index, "i32"));
  const sums = tile.locals(2 * stripLines, "v128");
  addProducts(tile, a, b, k, sums);
  for (let row = 0; row < stripLines; row++) {
    [0, 1].forEach((half) => {
      const sum = sums[2 * row + half];
      const before = v128.load(c, 16 * half);
      const value =
        mode === "store" ? sum : mode === "add" ? f64x2.add(before, sum) : f64x2.sub(before, sum);
      tile.do(v128.store(c, value, 16 * half));
    });
    if (row < stripLines - 1) tile.advance(c, cStep);
  }
  return tile;
}

/** Appends sums[2i + half] += Σ_k A[k][i] · B[k][2·half ..]; moves both pointers. */
function addProducts(
  code: FunctionBuilder,
  a: Local<"i32">,
  b: Local<"i32">,
  k: Local<"i32">,
  sums: readonly Local<"v128">[],
): void {
  const [low, high, factor] = code.locals(3, "v128");
  code.repeat(k, () => {
    low.set(v128.load(b));
    high.set(v128.load(b, 16));
    for (let row = 0; row < stripLines; row++) {
      factor.set(v128.load64_splat(a, 8 * row));
      sums[2 * row].set(f64x2.add(sums[2 * row], f64x2.mul(factor, low)));
      sums[2 * row + 1].set(f64x2.add(sums[2 * row + 1], f64x2.mul(factor, high)));
    }
    code.advance(a, stripRowBytes);
    code.advance(b, stripRowBytes);
  });
}

export const tiles: Readonly<Record<TileMode, FunctionBuilder>> = {
  store: buildTile("store"),
  add: buildTile("add"),
  subtract: buildTile("subtract"),
};

/** Bytes of a tile whose rows follow each other. */
export const tileBytes = stripLines * stripRowBytes;
