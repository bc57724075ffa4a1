/**
 * Cholesky factorization on kernels: R Rᵀ of a symmetric matrix, R upper triangular, in upper panels.
 * Not here: damping and its retries (`factor.ts`).
 * Invariant: the bytes do not depend on the number of threads.
 */
import { symmetricItems, upperPanelOffset } from "../../native/index.ts";
import type { Dense } from "./dense.ts";
import { eventLoopTurns } from "./turns.ts";

/** Columns of a block: its strips of 16 × 4 rows take 64 KB, so an update reads and writes C once per 128 k. */
export const blockColumns = 128;

/** Bytes of the strips that `factorPanels` works with. @param padded - a multiple of 4. */
export const factorStripBytes = (padded: number): number =>
  8 * padded * Math.min(blockColumns, padded);

/**
 * Factors in place, from the last block of columns to the first.
 *
 *   A = R Rᵀ,   R upper triangular with positive diagonal
 *
 * @param panels - address of A's upper panels, `padded` columns; overwritten with R. Garbage after a failure.
 * @param strips - address of `factorStripBytes(padded)` bytes.
 * @param noise - float64 [padded]: a pivot must be larger than this.
 * @returns false when a pivot is not finite or not above its noise.
 *
 * Cost: padded³/3 operations; the pivot blocks, padded · 128²/3 of them, on one thread.
 * Source: Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.5 (block outer-product form), with the order of
 *   rows and columns reversed, because GPTQ needs the factor R of H itself in the order of its columns.
 * Numerics: float64 without fused multiply-adds, fixed summation order.
 */
export async function factorPanels(
  dense: Dense,
  panels: number,
  strips: number,
  padded: number,
  noise: Float64Array,
): Promise<boolean> {
  const { run } = dense;
  const block = new Float64Array(blockColumns * blockColumns);
  const turn = eventLoopTurns();
  const last = Math.floor((padded - 1) / blockColumns) * blockColumns;
  for (let first = last; first >= 0; first -= blockColumns) {
    const width = Math.min(blockColumns, padded - first);
    copyBlock(dense, panels, first, width, block, "from-panels");
    if (!factorBlock(block, width, noise.subarray(first, first + width))) return false;
    copyBlock(dense, panels, first, width, block, "to-panels");
    if (first === 0) break;
    const above = first / 4;
    const stripBytes = 32 * width;
    const copy = { panels, first, width, strips };
    const rows = above + width / 4;
    run.transposePanels.set({ ...copy, isUnpacked: 0 }, rows, rows * width);
    run.transposePanels.run();
    const triangle = strips + above * stripBytes;
    run.solveTransposed.set(
      { x: strips, xStep: stripBytes, block: triangle, width },
      above,
      2 * first * width * width,
    );
    run.solveTransposed.run();
    run.transposePanels.set({ ...copy, isUnpacked: 1 }, above, first * width);
    run.transposePanels.run();
    const update = { strips, stripStep: stripBytes, count: above, k: width, c: panels };
    run.symmetricUpdate.set(
      { ...update, isSubtracted: 1 },
      symmetricItems(above),
      first * first * width,
    );
    run.symmetricUpdate.run();
    await turn();
  }
  return true;
}

/** Copies a diagonal block between panels and a row-major array [width, width]; only its upper triangle counts. */
function copyBlock(
  dense: Dense,
  panels: number,
  first: number,
  width: number,
  block: Float64Array,
  direction: "from-panels" | "to-panels",
): void {
  for (let column = 0; column < width; column += 4) {
    const rows = column + 4;
    const offset = upperPanelOffset((first + column) / 4) + 32 * first;
    const panel = dense.floats(panels + offset, 4 * rows);
    for (let i = 0; i < rows; i++) {
      for (let t = 0; t < 4; t++) {
        const at = i * width + column + t;
        if (direction === "from-panels") block[at] = panel[4 * i + t];
        else panel[4 * i + t] = i <= column + t ? block[at] : 0;
      }
    }
  }
}

/** R Rᵀ of one block in place, row-major; the dot products run along rows. */
function factorBlock(block: Float64Array, width: number, noise: Float64Array): boolean {
  for (let j = width - 1; j >= 0; j--) {
    const rowJ = j * width;
    let pivot = block[rowJ + j];
    for (let k = j + 1; k < width; k++) pivot -= block[rowJ + k] * block[rowJ + k];
    if (!(pivot > noise[j] && pivot > 0 && Number.isFinite(pivot))) return false;
    const root = Math.sqrt(pivot);
    block[rowJ + j] = root;
    for (let i = 0; i < j; i++) {
      const rowI = i * width;
      let sum = block[rowI + j];
      for (let k = j + 1; k < width; k++) sum -= block[rowI + k] * block[rowJ + k];
      block[rowI + j] = sum / root;
    }
  }
  return true;
}
