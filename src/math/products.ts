/**
 * Products, triangular solves and sums of squares on kernels. Not here: factorizations (`factor.ts`).
 * Invariant: inputs are not modified; rows are worked on 512 at a time and do not influence each other.
 */
import {
  type MultiplyShape,
  paddedLines,
  planMultiply,
  stripsOf,
  upperPanels,
} from "../../native/index.ts";
import { invariant } from "../core/errors.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Dense, withMemory } from "./dense.ts";
import type { PanelFactor } from "./factor.ts";
import { blockColumns } from "./factor-panels.ts";
import {
  columnsPerPass,
  columnsToStrips,
  rowsPerPass,
  rowsToStrips,
  stripsToRows,
} from "./strips.ts";
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

/** Passes over columns. */
async function overColumns(
  cols: number,
  work: (first: number, width: number) => Promise<void>,
): Promise<void> {
  for (let first = 0; first < cols; first += columnsPerPass) {
    await work(first, Math.min(columnsPerPass, cols - first));
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
  const most = paddedLines(Math.min(cols, columnsPerPass));
  const sizes = [8 * most * inner, 8 * lines * inner, 8 * lines * most];
  await withMemory(dense, sizes, (right, left, c) =>
    overColumns(cols, (from, width) => {
      const padded = paddedLines(width);
      columnsToStrips(dense.floats(right, padded * inner), b, inner, cols, from, width);
      return overRows(rows, (first, count, strips) => {
        rowsToStrips(dense.floats(left, 4 * strips * inner), inner, a, first, count, inner);
        // Tiles of [4 columns of B][4 rows of A] make C strips of rows.
        runMultiply(
          dense,
          {
            left: stripsOf(inner),
            leftCount: padded / 4,
            right: stripsOf(inner),
            rightCount: strips,
            k: inner,
            c: { leftStep: 128, rightStep: 32 * padded, rowStep: 32 },
          },
          { left: right, right: left, c },
        );
        const made = dense.floats(c, 4 * strips * padded);
        stripsToRows(result, first, count, cols, made, padded, { from, width });
      });
    }),
  );
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
  const lines = passLines(rows);
  const most = paddedLines(Math.min(cols, columnsPerPass));
  const sizes = [8 * most * cols, 8 * lines * cols, 8 * lines * most];
  let total = 0;
  await withMemory(dense, sizes, (right, left, moved) =>
    overColumns(cols, (from, width) => {
      // Below its diagonal V is 0, so only rows above the last one of these columns take part.
      const height = from + width;
      const padded = paddedLines(width);
      upperToStrips(dense.floats(right, padded * height), hessian, cols, from, width);
      return overRows(rows, (first, count, strips) => {
        const d = dense.floats(left, 4 * strips * height);
        rowsToStrips(d, height, data, first, count, cols);
        const shape: MultiplyShape = {
          left: stripsOf(height),
          leftCount: padded / 4,
          right: stripsOf(height),
          rightCount: strips,
          k: height,
          c: { leftStep: 128, rightStep: 32 * padded, rowStep: 32 },
        };
        runMultiply(dense, shape, { left: right, right: left, c: moved });
        const product = dense.floats(moved, 4 * strips * padded);
        // Four sums, because one would wait for the adder; they are the four rows of the strips.
        const sums = new Float64Array(4);
        for (let strip = 0; strip < strips; strip++) {
          const ofDelta = 4 * (strip * height + from);
          const ofProduct = 4 * strip * padded;
          for (let i = 0; i < 4 * width; i += 4) {
            sums[0] += d[ofDelta + i] * product[ofProduct + i];
            sums[1] += d[ofDelta + i + 1] * product[ofProduct + i + 1];
            sums[2] += d[ofDelta + i + 2] * product[ofProduct + i + 2];
            sums[3] += d[ofDelta + i + 3] * product[ofProduct + i + 3];
          }
        }
        total += sums[0] + sums[1] + (sums[2] + sums[3]);
      });
    }),
  );
  return 2 * total;
}

/** Columns of V as strips. */
function upperToStrips(
  into: Float64Array,
  hessian: Float64Array,
  size: number,
  from: number,
  width: number,
): void {
  const height = from + width;
  columnsToStrips(into, hessian, height, size, from, width);
  for (let column = 0; column < width; column++) {
    const line = (column >> 2) * height * 4 + (column & 3);
    into[line + 4 * (from + column)] /= 2;
    for (let k = from + column + 1; k < height; k++) into[line + 4 * k] = 0;
  }
}
