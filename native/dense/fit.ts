/**
 * The grids of whole rows of weights.
 */
import { f32, f64, i32, select } from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { fitGridOf, fitScratchBytes } from "./grid.ts";

/** Fields of a grid rule, shared with `round.ts`. */
export const ruleFields = {
  /** 2^bits − 1. */
  highest: "i32",
  isSymmetric: "i32",
  /** 1: scales are values of float16, 0: of float32. */
  isFloat16: "i32",
  /** Trial scales of the search; 0 takes the min-max grid. */
  trials: "i32",
  /** Address of a float64: each trial scale ÷ the one before. */
  ratio: "i32",
  /** Address of float64 per column: what its squared error counts. */
  importance: "i32",
} as const;

/**
 * One grid for each block of a row: scale and zero point as float64 [row][block][2].
 *
 * Fields: `weights` float32 [rows][columns]; `blockSize` ≥ 1, the last block may be shorter; `grids`.
 * Cost: the search passes over a block about 45 (symmetric) or 65 times.
 */
export const fitGridRows = defineKernel({
  name: "f32-f64-fit-grids-simd128",
  isa: "simd128",
  fields: { weights: "i32", columns: "i32", blockSize: "i32", grids: "i32", ...ruleFields },
  item: "row",
  scratchBytes: ({ blockSize, columns }) => fitScratchBytes + 8 * Math.min(blockSize, columns),
  build(code) {
    const { weights, columns, blockSize, grids, ratio, importance } = code.fields;
    const { highest, isSymmetric, isFloat16, trials } = code.fields;
    const values = code.local("i32", i32.add(code.scratch, i32.const(fitScratchBytes)));
    const [from, to, grid, first, count, left] = code.locals(6, "i32");
    const blocks = code.local(
      "i32",
      i32.div_u(i32.add(columns, i32.sub(blockSize, i32.const(1))), blockSize),
    );
    const step = code.local("f64", f64.load(ratio));
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      from.set(i32.add(weights, i32.shl(i32.mul(item, columns), i32.const(2))));
      grid.set(i32.add(grids, i32.shl(i32.mul(item, blocks), i32.const(4))));
      first.set(i32.const(0));
      code.for(first, columns, blockSize, () => {
        left.set(i32.sub(columns, first));
        count.set(select(left, blockSize, i32.lt_s(left, blockSize)));
        to.set(values);
        code.repeat(count, () => {
          code.do(f64.store(to, f64.promote_f32(f32.load(from))));
          code.advance(from, 4);
          code.advance(to, 8);
        });
        fitGridOf(code, {
          values,
          count,
          importance: i32.add(importance, i32.shl(first, i32.const(3))),
          highest,
          isSymmetric,
          isFloat16,
          trials,
          ratio: step,
          scaleAt: grid,
          zeroAt: i32.add(grid, i32.const(8)),
          sums: code.scratch,
        });
        code.advance(grid, 16);
      });
    });
  },
});
