/**
 * Products, triangular solves and sums of squares on kernels. Not here: factorizations (`factor.ts`).
 * Invariant: inputs are not modified; rows are worked on 512 at a time and do not influence each other.
 */
import {
  type MultiplyShape,
  paddedLines,
  planMultiply,
  stripsOf,
  symmetricItems,
  upperPanelBytes,
  upperPanelOffset,
  upperPanels,
} from "../../native/index.ts";
import type { GramSum } from "../core/algebra.ts";
import { invariant } from "../core/errors.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Dense, withMemory } from "./dense.ts";
import { type PanelFactor, writePanels } from "./factor.ts";
import { blockColumns } from "./factor-panels.ts";
import { columnsToStrips, rowsPerPass, rowsToStrips, stripsToRows } from "./strips.ts";
import { eventLoopTurns } from "./turns.ts";

/** Passes over rows, with a turn of the event loop after each. */
async function overRows(
  rows: number,
  work: (first: number, count: number, strips: number) => void,
): Promise<void> {
  const turn = eventLoopTurns();
  for (let first = 0; first < rows; first += rowsPerPass) {
    const count = Math.min(rowsPerPass, rows - first);
    work(first, count, Math.ceil(count / 4));
    await turn();
  }
}

const passLines = (rows: number) => paddedLines(Math.min(rows, rowsPerPass));

interface MultiplyAddresses {
  readonly left: number;
  readonly right: number;
  readonly c: number;
}

function runMultiply({ run }: Dense, shape: MultiplyShape, addresses: MultiplyAddresses): void {
  const { items, values } = planMultiply(shape);
  const work = 32 * shape.leftCount * shape.rightCount * shape.k;
  run.multiply.set({ ...values, ...addresses }, items, work);
  run.multiply.run();
}

/** See `Algebra.product`. */
export async function product(
  dense: Dense,
  a: Float32Array | Float64Array,
  b: Float64Array,
  rows: number,
  inner: number,
  cols: number,
): Promise<Float64Array> {
  invariant(a.length === rows * inner && b.length === inner * cols, "product of unlike shapes");
  const result = new Float64Array(rows * cols);
  if (result.length === 0 || inner === 0) return result;
  const lines = passLines(rows);
  const width = paddedLines(cols);
  const sizes = [8 * width * inner, 8 * lines * inner, 8 * lines * width];
  await withMemory(dense, sizes, (right, left, c) => {
    columnsToStrips(dense.floats(right, width * inner), b, inner, cols);
    return overRows(rows, (first, count, strips) => {
      rowsToStrips(dense.floats(left, 4 * strips * inner), inner, a, first, count, inner);
      // Tiles of [4 columns of B][4 rows of A] make C strips of rows.
      runMultiply(
        dense,
        {
          left: stripsOf(inner),
          leftCount: width / 4,
          right: stripsOf(inner),
          rightCount: strips,
          k: inner,
          c: { leftStep: 128, rightStep: 32 * width, rowStep: 32 },
        },
        { left: right, right: left, c },
      );
      stripsToRows(result, first, count, cols, dense.floats(c, 4 * strips * width), width);
    });
  });
  return result;
}

/** See `Algebra.solve`. */
export async function solve(
  dense: Dense,
  factor: PanelFactor,
  right: Float64Array,
  rows: number,
  matrix: "R" | "Rᵀ" | "R Rᵀ",
): Promise<Float64Array> {
  const { size, padded } = factor;
  invariant(right.length === rows * size, "right side and factor disagree in K");
  const result = new Float64Array(right.length);
  const lines = passLines(rows);
  const block = 8 * padded * Math.min(blockColumns, padded);
  await withMemory(dense, [8 * padded * lines, block], (x, rowStrips) =>
    overRows(rows, (first, count, strips) => {
      rowsToStrips(dense.floats(x, 4 * strips * padded), padded, right, first, count, size);
      // X R Rᵀ = B: first away with Rᵀ, then with R.
      if (matrix !== "R") solveTransposed(dense, factor, x, strips, rowStrips);
      if (matrix !== "Rᵀ") solveUpper(dense, factor, x, strips);
      stripsToRows(result, first, count, size, dense.floats(x, 4 * strips * padded), padded);
    }),
  );
  return result;
}

/** X ← X · R⁻¹, block after block of columns. */
function solveUpper(dense: Dense, factor: PanelFactor, x: number, strips: number): void {
  const { panels, padded } = factor;
  const xStep = 32 * padded;
  for (let first = 0; first < padded; first += blockColumns) {
    const end = Math.min(first + blockColumns, padded);
    if (first > 0) {
      const shape: MultiplyShape = {
        left: upperPanels,
        leftFirst: first / 4,
        leftCount: (end - first) / 4,
        right: stripsOf(padded),
        rightCount: strips,
        k: first,
        c: { leftStep: 128, rightStep: xStep, rowStep: 32 },
        mode: "subtract",
      };
      runMultiply(dense, shape, { left: panels, right: x, c: x + 32 * first });
    }
    dense.run.solveUpper.set(
      { x, xStep, panels, first, end },
      strips,
      strips * 4 * (end - first) ** 2,
    );
    dense.run.solveUpper.run();
  }
}

/** X ← X · R⁻ᵀ, from the last block of columns on; `rowStrips` holds the rows of R in a block of its columns. */
function solveTransposed(
  dense: Dense,
  factor: PanelFactor,
  x: number,
  strips: number,
  rowStrips: number,
): void {
  const { panels, padded } = factor;
  const { run } = dense;
  const xStep = 32 * padded;
  const last = Math.floor((padded - 1) / blockColumns) * blockColumns;
  for (let first = last; first >= 0; first -= blockColumns) {
    const width = Math.min(blockColumns, padded - first);
    const count = (first + width) / 4;
    run.transposePanels.set(
      { panels, first, width, strips: rowStrips, isUnpacked: 0 },
      count,
      count * width,
    );
    run.transposePanels.run();
    const block = rowStrips + 8 * first * width;
    run.solveTransposed.set(
      { x: x + 32 * first, xStep, block, width },
      strips,
      strips * 4 * width * width,
    );
    run.solveTransposed.run();
    if (first === 0) return;
    const shape: MultiplyShape = {
      left: stripsOf(width),
      leftCount: first / 4,
      right: stripsOf(padded),
      rightCount: strips,
      k: width,
      c: { leftStep: 128, rightStep: xStep, rowStep: 32 },
      mode: "subtract",
    };
    runMultiply(dense, shape, { left: rowStrips, right: x + 32 * first, c: x });
  }
}

/** See `Algebra.quadraticForm`: with V the upper triangle of H, its diagonal halved, it is 2 Σ Δ ∘ (Δ V). */
export async function quadraticForm(
  dense: Dense,
  delta: Matrix,
  hessian: Float64Array,
): Promise<number> {
  const { rows, cols, data } = delta;
  invariant(hessian.length === cols * cols, "Hessian and weight disagree in K");
  if (data.length === 0) return 0;
  const padded = paddedLines(cols);
  const lines = passLines(rows);
  const sizes = [upperPanelBytes(padded), 8 * padded * lines, 8 * padded * lines];
  let total = 0;
  await withMemory(dense, sizes, (panels, left, moved) => {
    writePanels(dense, panels, cols, (panel, column, t) => {
      for (let k = 0; k <= column; k++) panel[4 * k + t] = hessian[column * cols + k];
      panel[4 * column + t] /= 2;
    });
    return overRows(rows, (first, count, strips) => {
      const d = dense.floats(left, 4 * strips * padded);
      rowsToStrips(d, padded, data, first, count, cols);
      const shape: MultiplyShape = {
        left: upperPanels,
        leftCount: padded / 4,
        right: stripsOf(padded),
        rightCount: strips,
        k: padded,
        c: { leftStep: 128, rightStep: 32 * padded, rowStep: 32 },
      };
      runMultiply(dense, shape, { left: panels, right: left, c: moved });
      const product = dense.floats(moved, d.length);
      // Four sums, because one would wait for the adder; they are the four rows of the strips.
      const sums = new Float64Array(4);
      for (let i = 0; i < d.length; i += 4) {
        sums[0] += d[i] * product[i];
        sums[1] += d[i + 1] * product[i + 1];
        sums[2] += d[i + 2] * product[i + 2];
        sums[3] += d[i + 3] * product[i + 3];
      }
      total += sums[0] + sums[1] + (sums[2] + sums[3]);
    });
  });
  return 2 * total;
}

/** See `Algebra.openGram`. Rows are added in blocks of 256: where they are cut into calls shows in the last bits. */
export function openGram(dense: Dense, size: number): GramSum {
  const padded = paddedLines(size);
  const c = dense.engine.take(upperPanelBytes(padded));
  dense.floats(c, upperPanelBytes(padded) / 8).fill(0);
  const strips = dense.engine.take(8 * padded * rowsPerPass);
  return {
    add(rows) {
      const total = rows.length / size;
      invariant(Number.isInteger(total), "calibration rows of another width than the sum");
      for (let first = 0; first < total; first += rowsPerPass) {
        const k = Math.min(rowsPerPass, total - first);
        const source = rows.subarray(first * size, (first + k) * size);
        columnsToStrips(dense.floats(strips, padded * k), source, k, size);
        const count = padded / 4;
        dense.run.symmetricUpdate.set(
          { strips, stripStep: 32 * k, count, k, c, isSubtracted: 0 },
          symmetricItems(count),
          padded * padded * k,
        );
        dense.run.symmetricUpdate.run();
      }
    },
    finish(factor) {
      const result = new Float64Array(size * size);
      for (let column = 0; column < size; column++) {
        const panel = dense.floats(c + upperPanelOffset(column >> 2), 4 * (column + 1));
        const t = column & 3;
        for (let k = 0; k <= column; k++) {
          const value = factor * panel[4 * k + t];
          result[column * size + k] = value;
          result[k * size + column] = value;
        }
      }
      return result;
    },
    release() {
      dense.engine.give(strips);
      dense.engine.give(c);
    },
  };
}
