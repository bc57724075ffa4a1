/**
 * Triangular solves inside one block of columns, with R upper triangular, and the transposition of panels that they
 * and the updates between blocks need. All work in place on strips of rows: X [strip][k][4 rows].
 */
import {
  FunctionBuilder,
  f64x2,
  type I32,
  i8x16,
  i32,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { stripLines, stripRowBytes } from "./layout.ts";
import { tileBytes, tiles } from "./tile.ts";

const rowBytes = i32.const(stripRowBytes);
const toBytes = (k: I32) => i32.mul(k, rowBytes);

/**
 * X ← X · R⁻ᵀ for one diagonal block R: x_j = (x_j − Σ_{k>j} x_k R_jk) / R_jj, from the last column on.
 *
 * Fields: `x`, first column of the first strip, `xStep` from strip to strip; `block`, the rows of R as strips,
 * [width / 4][width][4 rows]; `width`, a multiple of 4.
 * Cost: 4 · width² operations an item. Numerics: float64, divisions, not reciprocals.
 */
export const solveTransposed = defineKernel({
  name: "f64-solve-transposed-simd128",
  isa: "simd128",
  fields: { x: "i32", xStep: "i32", block: "i32", width: "i32" },
  item: "strip",
  build(code) {
    const { x, xStep, block, width } = code.fields;
    const [strip, q, a, b, rest] = code.locals(5, "i32");
    const solve = prepareSolve(code);
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      strip.set(i32.add(x, i32.mul(item, xStep)));
      q.set(i32.div_u(width, i32.const(stripLines)));
      code.repeat(q, (left) => {
        q.set(i32.sub(left, i32.const(1)));
        // Column 4q of strip q of R, and of X.
        a.set(i32.add(block, toBytes(i32.mul(q, i32.add(width, i32.const(stripLines))))));
        b.set(i32.add(strip, i32.mul(q, i32.const(tileBytes))));
        rest.set(i32.sub(width, i32.mul(left, i32.const(stripLines))));
        code.if(rest, () => {
          const next = i32.const(tileBytes);
          code.run(tiles.subtract, i32.add(a, next), i32.add(b, next), rest, b, rowBytes);
        });
        // Row t of the triangle lies in lane t of its columns u.
        solve(a, b, [3, 2, 1, 0], (t, u) => stripRowBytes * u + 8 * t);
      });
    });
  },
});

/**
 * X ← X · R⁻¹ for one diagonal block R: x_j = (x_j − Σ_{k<j} x_k R_kj) / R_jj, from the first column on.
 *
 * Fields: `x`, strips of whole rows, `xStep` apart; `panels`, R; columns `first` .. `end`, multiples of 4.
 * Cost: 4 · (end − first)² operations an item. Numerics: float64, divisions, not reciprocals.
 */
export const solveUpper = defineKernel({
  name: "f64-solve-upper-simd128",
  isa: "simd128",
  fields: { x: "i32", xStep: "i32", panels: "i32", first: "i32", end: "i32" },
  item: "strip",
  build(code) {
    const { x, xStep, panels, first, end } = code.fields;
    const [strip, column, q, a, b] = code.locals(5, "i32");
    const solve = prepareSolve(code);
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      strip.set(i32.add(x, i32.mul(item, xStep)));
      column.set(first);
      code.for(column, end, stripLines, () => {
        q.set(i32.div_u(column, i32.const(stripLines)));
        a.set(i32.shl(i32.mul(q, i32.add(q, i32.const(1))), i32.const(6)));
        a.set(i32.add(i32.add(panels, a), toBytes(first)));
        b.set(i32.add(strip, toBytes(column)));
        const done = i32.sub(column, first);
        code.if(done, () => {
          code.run(tiles.subtract, a, i32.add(strip, toBytes(first)), done, b, rowBytes);
          a.set(i32.add(a, toBytes(done)));
        });
        solve(a, b, [0, 1, 2, 3], (t, u) => stripRowBytes * u + 8 * t);
      });
    });
  },
});

/** Variables for, and the code of, the substitution inside a tile: columns of X in `order`, each after those before. */
function prepareSolve(code: FunctionBuilder) {
  const columns = Array.from({ length: stripLines }, () => code.locals(2, "v128"));
  const factor = code.local("v128");
  return (
    triangle: Local<"i32">,
    x: Local<"i32">,
    order: readonly number[],
    /** Byte offset of the coefficient of column u in the equation of column t. */
    coefficient: (t: number, u: number) => number,
  ): void => {
    order.forEach((t, place) => {
      const halves = columns[t];
      halves.forEach((half, index) => {
        half.set(v128.load(x, stripRowBytes * t + 16 * index));
      });
      for (const u of order.slice(0, place)) {
        factor.set(v128.load64_splat(triangle, coefficient(t, u)));
        halves.forEach((half, index) => {
          half.set(f64x2.sub(half, f64x2.mul(factor, columns[u][index])));
        });
      }
      factor.set(v128.load64_splat(triangle, coefficient(t, t)));
      halves.forEach((half, index) => {
        half.set(f64x2.div(half, factor));
        code.do(v128.store(x, half, stripRowBytes * t + 16 * index));
      });
    });
  };
}

const lowLanes = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
const highLanes = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]);

/** Parameters: to, from: tiles of 4 × 4, rows next to each other. */
const transposeTile = buildTransposeTile();

function buildTransposeTile(): FunctionBuilder {
  const code = new FunctionBuilder("f64-transpose-tile", ["i32", "i32"]);
  const [to, from] = [code.parameter(0, "i32"), code.parameter(1, "i32")];
  const rows = code.locals(2 * stripLines, "v128");
  rows.forEach((row, index) => {
    row.set(v128.load(from, 16 * index));
  });
  [0, 1].forEach((half) => {
    [lowLanes, highLanes].forEach((pick, lane) => {
      const row = 2 * half + lane;
      code.do(v128.store(to, pick(rows[half], rows[2 + half]), stripRowBytes * row));
      code.do(v128.store(to, pick(rows[4 + half], rows[6 + half]), stripRowBytes * row + 16));
    });
  });
  return code;
}

/**
 * Copies a block of columns of an upper triangle between its panels and strips of its rows, [strip][width][4 rows].
 *
 * Fields: `panels`; `first`, the first column of the block, and `width`, multiples of 4; `strips`; `isUnpacked` 1
 * copies strips to panels. Items are strips of rows; of those inside the block only what lies on and right of the
 * diagonal tiles is copied.
 * Cost: 32 · width bytes read and written an item.
 */
export const transposePanels = defineKernel({
  name: "f64-transpose-panels-simd128",
  isa: "simd128",
  fields: { panels: "i32", first: "i32", width: "i32", strips: "i32", isUnpacked: "i32" },
  item: "strip of rows",
  build(code) {
    const { panels, first, width, strips, isUnpacked } = code.fields;
    const [panel, panelEnd, tile, strip] = code.locals(4, "i32");
    const firstPanel = code.local("i32", i32.div_u(first, i32.const(stripLines)));
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      panel.set(firstPanel);
      code.if(i32.gt_s(item, firstPanel), () => panel.set(item));
      panelEnd.set(i32.add(firstPanel, i32.div_u(width, i32.const(stripLines))));
      strip.set(i32.mul(i32.sub(panel, firstPanel), i32.const(tileBytes)));
      strip.set(i32.add(i32.add(strips, toBytes(i32.mul(item, width))), strip));
      code.for(panel, panelEnd, 1, () => {
        tile.set(i32.shl(i32.mul(panel, i32.add(panel, i32.const(1))), i32.const(6)));
        tile.set(i32.add(i32.add(panels, tile), i32.mul(item, i32.const(tileBytes))));
        code.if(
          isUnpacked,
          () => code.run(transposeTile, tile, strip),
          () => code.run(transposeTile, strip, tile),
        );
        code.advance(strip, tileBytes);
      });
    });
  },
});
