/**
 * GPTQ inside one group of columns, for strips of four rows: grids fitted when their block starts, then codes column
 * by column, each seeing the errors of those before it. What columns before the group add comes in as sums, which are
 * products (`multiply.ts`).
 *
 *   t_i = w_i + (Σ_{j<i} d_j R_ji) / R_ii,   ŵ_i = round(t_i) on the grid,   d_i = w_i − ŵ_i
 *
 * With a feed P the weight itself runs along: w_i + Σ_{j<i} t_j P_ji takes the place of w_i.
 */
import {
  type F64,
  f64,
  f64x2,
  type I32,
  i8x16,
  i32,
  i32x4,
  type Local,
  select,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { ruleFields } from "./fit.ts";
import { fitGridOf, fitScratchBytes } from "./grid.ts";
import { paddedLines, stripLines, stripRowBytes } from "./layout.ts";
import { tileBytes, tiles } from "./tile.ts";

/** Adding and subtracting 1.5 · 2⁵² rounds to the nearest integer, ties to even. */
const rounder = 6755399441055744;
const rowBytes = i32.const(stripRowBytes);
/** Scratch before the values of a block: the sums of a panel, those of its feed, what `fitGrid` needs. */
const valuesAt = 2 * tileBytes + fitScratchBytes;

/**
 * Rounds columns `first` .. `end` of strips of four rows.
 *
 * Fields, strips `…Step` bytes apart: `weights` float32 [strip][k][4]; `panels`, R; `errors` float64 [strip][k][4], d of
 * the columns before, receives d; `sums` float64 [strip][end − first][4], Σ d_j R_ji over j < first, overwritten;
 * `feed`, panels of P with zeros on the diagonal, or 0; `taken` and `feedSums`, as `errors` and `sums` for t and P;
 * `codes` uint8 [strip][k][4]; `grids` float64 [strip][block][4 scales, 4 zero points], and `blockOf` int32 [k];
 * `check` float64 [strip][4], where NaN is added when a t is not finite. `blockSize` 0 takes the grids as they are;
 * otherwise `first` is a multiple of it, and it of 4. `columns`, a multiple of 4, and `end` count padding, `realColumns`
 * does not.
 * Cost: 16 · (end − first)² operations an item beside the fits (twice that with fits, which see corrected weights).
 * Numerics: float64, ties to even; sums in blocks: before the group, before the block, inside the block.
 */
export const roundStrips = defineKernel({
  name: "f32-u8-round-with-feedback-4x4-simd128",
  isa: "simd128",
  fields: {
    weights: "i32",
    weightStep: "i32",
    panels: "i32",
    errors: "i32",
    errorStep: "i32",
    sums: "i32",
    sumStep: "i32",
    feed: "i32",
    taken: "i32",
    feedSums: "i32",
    codes: "i32",
    codeStep: "i32",
    grids: "i32",
    gridStep: "i32",
    blockOf: "i32",
    check: "i32",
    first: "i32",
    end: "i32",
    realColumns: "i32",
    blockSize: "i32",
    ...ruleFields,
  },
  item: "strip of 4 rows",
  scratchBytes: ({ blockSize }) => valuesAt + 8 * stripLines * paddedLines(blockSize),
  build(code) {
    const { fields } = code;
    const { first, end, realColumns, blockSize, feed } = fields;
    const bytes = (k: I32) => i32.mul(k, rowBytes);
    const [weights, errors, sums, taken, feedSums] = code.locals(5, "i32");
    const [codes, grids, check] = code.locals(3, "i32");
    const [begin, blockEnd, column, panel, feedPanel] = code.locals(5, "i32");
    const [at, grid, count, line] = code.locals(4, "i32");
    const work = code.local("i32", code.scratch);
    const feedWork = code.local("i32", i32.add(code.scratch, i32.const(tileBytes)));
    const values = code.local("i32", i32.add(code.scratch, i32.const(valuesAt)));
    const step = code.local("f64", f64.load(fields.ratio));
    const top = code.local("v128", f64x2.splat(f64.convert_i32_u(fields.highest)));
    const magic = code.local("v128", f64x2.splat(f64.const(rounder)));
    const pair = () => code.locals(2, "v128");
    const [sum, base, target, rounded, scale, zero, checked] = Array.from({ length: 7 }, pair);
    const errorOf = Array.from({ length: stripLines }, pair);
    const takenOf = Array.from({ length: stripLines }, pair);
    const factor = code.local("v128");
    const halves = [0, 1] as const;
    /** Rows 0, 1 and rows 2, 3 of the strip. */
    const both = (body: (half: 0 | 1) => void) => {
      for (const half of halves) body(half);
    };

    /** Panel of a column: its address in the triangle of R or P. */
    const panelOf = (triangle: I32) => {
      const index = i32.div_u(column, i32.const(stripLines));
      return i32.add(triangle, i32.shl(i32.mul(index, i32.add(index, i32.const(1))), i32.const(6)));
    };
    /** into += Σ over columns from .. to of the panel · the strip. */
    const addPanel = (triangle: I32, strip: I32, from: I32, to: I32, into: I32) =>
      code.if(i32.lt_s(from, to), () =>
        code.run(
          tiles.add,
          i32.add(panelOf(triangle), bytes(from)),
          i32.add(strip, bytes(from)),
          i32.sub(to, from),
          into,
          rowBytes,
        ),
      );
    const copyTile = (to: I32, from: I32) => {
      for (let offset = 0; offset < tileBytes; offset += 16)
        code.do(v128.store(to, v128.load(from, offset), offset));
    };
    const overPanels = (from: Local<"i32">, to: I32, body: () => void) => {
      column.set(from);
      code.for(column, to, stripLines, body);
    };
    const sumsOf = (start: I32) => i32.add(start, bytes(i32.sub(column, first)));

    /** d and t of one panel; `isExact` takes t as it is instead of rounding it, and lets nothing feed. */
    const doPanel = (isExact: boolean) => {
      copyTile(work, sumsOf(sums));
      addPanel(fields.panels, errors, begin, column, work);
      panel.set(i32.add(panelOf(fields.panels), bytes(column)));
      code.if(feed, () => {
        copyTile(feedWork, sumsOf(feedSums));
        if (isExact) return;
        addPanel(feed, taken, begin, column, feedWork);
        feedPanel.set(i32.add(panelOf(feed), bytes(column)));
      });
      for (let t = 0; t < stripLines; t++) {
        const offset = stripRowBytes * t;
        both((half) => sum[half].set(v128.load(work, offset + 16 * half)));
        for (let u = 0; u < t; u++) {
          factor.set(v128.load64_splat(panel, stripRowBytes * u + 8 * t));
          both((half) => sum[half].set(f64x2.add(sum[half], f64x2.mul(factor, errorOf[u][half]))));
        }
        at.set(i32.add(weights, i32.shl(i32.add(column, i32.const(t)), i32.const(4))));
        base[0].set(f64x2.promote_low_f32x4(v128.load64_zero(at)));
        base[1].set(f64x2.promote_low_f32x4(v128.load64_zero(at, 8)));
        code.if(feed, () => {
          both((half) => target[half].set(v128.load(feedWork, offset + 16 * half)));
          if (!isExact) {
            for (let u = 0; u < t; u++) {
              factor.set(v128.load64_splat(feedPanel, stripRowBytes * u + 8 * t));
              both((half) =>
                target[half].set(f64x2.add(target[half], f64x2.mul(factor, takenOf[u][half]))),
              );
            }
          }
          both((half) => base[half].set(f64x2.add(base[half], target[half])));
        });
        factor.set(v128.load64_splat(panel, stripRowBytes * t + 8 * t));
        both((half) => target[half].set(f64x2.add(base[half], f64x2.div(sum[half], factor))));
        if (isExact) keepValues(t);
        else roundColumn(t);
        const result = isExact ? target : rounded;
        at.set(i32.add(errors, bytes(column)));
        both((half) => {
          errorOf[t][half].set(f64x2.sub(base[half], result[half]));
          code.do(v128.store(at, errorOf[t][half], offset + 16 * half));
        });
        if (isExact) continue;
        both((half) => takenOf[t][half].set(target[half]));
        code.if(feed, () => {
          at.set(i32.add(taken, bytes(column)));
          both((half) => code.do(v128.store(at, target[half], offset + 16 * half)));
        });
      }
    };
    /** The corrected weights of a block, a row after the other, for the fit. */
    const keepValues = (t: number) => {
      at.set(i32.add(values, i32.shl(i32.sub(column, begin), i32.const(3))));
      for (let row = 0; row < stripLines; row++) {
        const half = row >> 1;
        code.do(v128.store64_lane(at, target[half], row & 1, 8 * t));
        if (row < stripLines - 1) code.advance(at, i32.shl(line, i32.const(3)));
      }
    };
    const roundColumn = (t: number) => {
      at.set(i32.shl(i32.add(column, i32.const(t)), i32.const(2)));
      grid.set(i32.add(grids, i32.shl(i32.load(i32.add(fields.blockOf, at)), i32.const(6))));
      both((half) => {
        scale[half].set(v128.load(grid, 16 * half));
        zero[half].set(v128.load(grid, 32 + 16 * half));
        const value = rounded[half];
        value.set(f64x2.div(target[half], scale[half]));
        value.set(f64x2.pmin(value, f64x2.sub(top, zero[half])));
        value.set(f64x2.pmax(value, f64x2.neg(zero[half])));
        value.set(f64x2.sub(f64x2.add(value, magic), magic));
        value.set(v128.andnot(value, f64x2.eq(scale[half], v128.zero())));
        checked[half].set(f64x2.add(checked[half], f64x2.sub(target[half], target[half])));
      });
      const integers = halves.map((half) =>
        i32x4.trunc_sat_f64x2_s_zero(f64x2.add(rounded[half], zero[half])),
      );
      const lanes = [0, 4, 16, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
      const stored: V128 = i8x16.shuffle(integers[0], integers[1], lanes);
      code.do(v128.store32_lane(i32.add(codes, at), stored, 0));
      both((half) => rounded[half].set(f64x2.mul(scale[half], rounded[half])));
    };
    const fitBlock = () => {
      line.set(i32.sub(blockEnd, begin));
      overPanels(begin, blockEnd, () => doPanel(true));
      const left = i32.sub(realColumns, begin);
      count.set(left);
      code.if(i32.lt_s(blockSize, left), () => count.set(blockSize));
      grid.set(i32.load(i32.add(fields.blockOf, i32.shl(begin, i32.const(2)))));
      grid.set(i32.add(grids, i32.shl(grid, i32.const(6))));
      at.set(values);
      const importance = i32.add(fields.importance, i32.shl(begin, i32.const(3)));
      for (let row = 0; row < stripLines; row++) {
        fitGridOf(code, {
          values: at,
          count,
          importance,
          highest: fields.highest,
          isSymmetric: fields.isSymmetric,
          isFloat16: fields.isFloat16,
          trials: fields.trials,
          ratio: step as F64,
          scaleAt: i32.add(grid, i32.const(8 * row)),
          zeroAt: i32.add(grid, i32.const(32 + 8 * row)),
          sums: i32.add(code.scratch, i32.const(2 * tileBytes)),
        });
        code.advance(at, i32.shl(line, i32.const(3)));
      }
    };

    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      const strip = (start: I32, stride: I32) => i32.add(start, i32.mul(item, stride));
      weights.set(strip(fields.weights, fields.weightStep));
      errors.set(strip(fields.errors, fields.errorStep));
      sums.set(strip(fields.sums, fields.sumStep));
      taken.set(strip(fields.taken, fields.errorStep));
      feedSums.set(strip(fields.feedSums, fields.sumStep));
      codes.set(strip(fields.codes, fields.codeStep));
      grids.set(strip(fields.grids, fields.gridStep));
      check.set(strip(fields.check, rowBytes));
      both((half) => checked[half].set(v128.zero()));
      begin.set(first);
      code.while(i32.lt_s(begin, end), () => {
        blockEnd.set(end);
        code.if(blockSize, () => {
          blockEnd.set(i32.add(begin, blockSize));
          blockEnd.set(select(blockEnd, end, i32.lt_s(blockEnd, end)));
        });
        // What earlier blocks of the group add to all columns of this one.
        code.if(i32.gt_s(begin, first), () =>
          overPanels(begin, blockEnd, () => {
            addPanel(fields.panels, errors, first, begin, sumsOf(sums));
            code.if(feed, () => addPanel(feed, taken, first, begin, sumsOf(feedSums)));
          }),
        );
        code.if(blockSize, fitBlock);
        overPanels(begin, blockEnd, () => doPanel(false));
        begin.set(blockEnd);
      });
      both((half) => {
        const sofar = v128.load(check, 16 * half);
        code.do(v128.store(check, f64x2.add(sofar, checked[half]), 16 * half));
      });
    });
  },
});
