/**
 * Grids of whole matrices on kernels. Not here: what a grid is and how many trials a width needs (`quantize/`).
 */
import type { FieldValues, fitGridRows } from "../../native/index.ts";
import type { GridFit, GridSet } from "../core/algebra.ts";
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Dense, withMemory } from "./dense.ts";
import { eventLoopTurns } from "./turns.ts";

/** Weights that are copied at a time: what the search of a few milliseconds needs, and one row at least. */
const passBytes = 2 ** 20;

type RuleFields = Pick<
  FieldValues<typeof fitGridRows.fields>,
  "highest" | "isSymmetric" | "isFloat16" | "trials" | "ratio" | "importance"
>;

/** Bytes of what `writeRule` writes. */
export const ruleBytes = (columns: number): number => 8 * (1 + columns);

/** Writes the rule's numbers at `address` and gives the fields that point there. */
export function writeRule(
  dense: Dense,
  address: number,
  format: WeightFormat,
  fit: GridFit,
  columns: number,
): RuleFields {
  const numbers = dense.floats(address, 1 + columns).fill(1);
  numbers[0] = fit.ratio;
  if (fit.importance) numbers.set(fit.importance, 1);
  return {
    highest: 2 ** format.bits - 1,
    isSymmetric: format.symmetric ? 1 : 0,
    isFloat16: format.scaleType === "float16" ? 1 : 0,
    trials: fit.trials,
    ratio: address,
    importance: address + 8,
  };
}

/** See `Algebra.fitGrids`. */
export async function fitGrids(
  dense: Dense,
  weight: Matrix,
  format: WeightFormat,
  fit: GridFit,
): Promise<GridSet> {
  const { rows, cols, data } = weight;
  const blocks = blocksPerRow(format, cols);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * blocks);
  if (scales.length === 0) return { scales, zeroPoints };
  const pass = Math.min(rows, Math.max(1, Math.floor(passBytes / (4 * cols))));
  const sizes = [4 * pass * cols, 16 * pass * blocks, ruleBytes(cols)];
  await withMemory(dense, sizes, async (weights, grids, ruleAt) => {
    const rule = writeRule(dense, ruleAt, format, fit, cols);
    const blockSize = effectiveBlockSize(format, cols);
    const work = (fit.trials + 1) * 20 * cols;
    const turn = eventLoopTurns();
    for (let first = 0; first < rows; first += pass) {
      const count = Math.min(pass, rows - first);
      const copy = new Float32Array(dense.engine.buffer, weights, count * cols);
      copy.set(data.subarray(first * cols, (first + count) * cols));
      dense.run.fitGridRows.set(
        { weights, columns: cols, blockSize, grids, ...rule },
        count,
        work * count,
      );
      dense.run.fitGridRows.run();
      const found = dense.floats(grids, 2 * count * blocks);
      for (let i = 0; i < count * blocks; i++) {
        scales[first * blocks + i] = found[2 * i];
        zeroPoints[first * blocks + i] = found[2 * i + 1];
      }
      await turn();
    }
  });
  return { scales, zeroPoints };
}
