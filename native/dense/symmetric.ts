/**
 * The symmetric product of strips with themselves, on the upper panels of a triangle: the update of a Cholesky
 * factorization, and the sums of a Hessian.
 */
import { f64, i32, select } from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { stripRowBytes } from "./layout.ts";
import { tileBytes, tiles } from "./tile.ts";

/** Strips that a side of an item has: with k 128, 64 KB of each stay in the second-level cache. */
const stripsPerSide = 16;
const kPerBlock = 256;

/**
 * C ± A · Aᵀ on the upper triangle, for A in strips.
 *
 *   C[4i + u, 4j + v] ± Σ_k A[i][k][u] · A[j][k][v]   for i ≤ j
 *
 * Fields: `strips`, `stripStep` apart, `count` of them, `k` ≥ 1 each; `c`, upper panels of 4 · count columns;
 * `isSubtracted`.
 * Cost: 16 · count · (count + 1) · k operations, no scratch. Tiles on the diagonal are computed whole.
 * Numerics: float64, one chain per block of 256 k, the blocks added in their order.
 */
export const symmetricUpdate = defineKernel({
  name: "f64-symmetric-update-4x4-simd128",
  isa: "simd128",
  fields: {
    strips: "i32",
    stripStep: "i32",
    count: "i32",
    k: "i32",
    c: "i32",
    isSubtracted: "i32",
  },
  item: "pair of blocks of 16 strips, one not after the other",
  build(code) {
    const { strips, stripStep, count, k, c, isSubtracted } = code.fields;
    const lesser = (a: typeof k, b: typeof k) => select(a, b, i32.lt_s(a, b));
    const [column, i, iBegin, iEnd, j, jEnd, kBegin, kCount, limit] = code.locals(9, "i32");
    const [a, b, out] = code.locals(3, "i32");
    const item = code.local("i32", code.begin);
    const root = code.local("f64");
    const step = i32.const(stripRowBytes);
    const panel = () => {
      limit.set(i32.add(j, i32.const(1)));
      iEnd.set(i32.add(iBegin, i32.const(stripsPerSide)));
      iEnd.set(lesser(iEnd, limit));
      b.set(i32.add(i32.mul(j, stripStep), i32.mul(kBegin, step)));
      b.set(i32.add(strips, b));
      a.set(i32.add(i32.mul(iBegin, stripStep), i32.mul(kBegin, step)));
      a.set(i32.add(strips, a));
      out.set(i32.shl(i32.mul(j, i32.add(j, i32.const(1))), i32.const(6)));
      out.set(i32.add(i32.add(c, out), i32.mul(iBegin, i32.const(tileBytes))));
      i.set(iBegin);
      code.for(i, iEnd, 1, () => {
        code.if(
          isSubtracted,
          () => code.run(tiles.subtract, a, b, kCount, out, step),
          () => code.run(tiles.add, a, b, kCount, out, step),
        );
        code.advance(a, stripStep);
        code.advance(out, tileBytes);
      });
    };
    code.for(item, code.end, 1, () => {
      // item = column · (column + 1) / 2 + row, row ≤ column: the root is exact enough to be cut off.
      root.set(f64.convert_i32_u(i32.add(i32.shl(item, i32.const(3)), i32.const(1))));
      root.set(f64.mul(f64.sub(f64.sqrt(root), f64.const(1)), f64.const(0.5)));
      column.set(i32.trunc_sat_f64_u(root));
      iBegin.set(i32.shr_u(i32.mul(column, i32.add(column, i32.const(1))), i32.const(1)));
      iBegin.set(i32.mul(i32.sub(item, iBegin), i32.const(stripsPerSide)));
      kBegin.set(i32.const(0));
      code.for(kBegin, k, kPerBlock, () => {
        kCount.set(i32.sub(k, kBegin));
        limit.set(i32.const(kPerBlock));
        kCount.set(lesser(kCount, limit));
        j.set(i32.mul(column, i32.const(stripsPerSide)));
        jEnd.set(i32.add(j, i32.const(stripsPerSide)));
        jEnd.set(lesser(jEnd, count));
        code.for(j, jEnd, 1, panel);
      });
    });
  },
});

/** Items of an update of `count` strips. */
export function symmetricItems(count: number): number {
  const blocks = Math.ceil(count / stripsPerSide);
  return (blocks * (blocks + 1)) / 2;
}
