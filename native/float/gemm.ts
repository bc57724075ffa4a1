/**
 * The float32 product with a constant right side: C = alpha · A · B + bias, B packed into panels of 8 columns when
 * the model is loaded. One row (decoding) streams B at the speed of memory; many rows run in tiles of 4 × 8. For
 * products of two activations see gemm-strided.ts.
 */
import { i32 } from "../assembler/index.ts";
import { defineKernel, type FieldValues } from "../kernel.ts";
import { edgeBytes, multiplyBlock, packRows } from "./gemm-block.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";
import { panelColumns, tileRows } from "./gemm-tile.ts";

/** Rows of A packed at a time: their share of a k block, 256 KB, fits the second-level cache. */
const rowsPerItem = 128;
/** Fewer items than this are cut smaller, for the sake of threads. */
const fewItems = 8;
/** Panels of B per item: enough work to hide the call (2 µs up), small enough to share over threads. */
const panelsPerItem = 8;
/**
 * k of a block when B is used by many row tiles (a panel of 32 KB) and by a few: the stream of B from memory likes
 * to be long. Measured at K 2048 (GFLOP/s, Node 20 / 24): m = 8 36 / 39 with 512, 46 / 49 with 2048; m = 128 50 / 56
 * with 512, 52 / 58 with 1024.
 */
const kPerBlock = 1024;
const kPerBlockFewRows = 2048;
const fewRows = 32;

/** The block of k for a product of m rows. */
export const blockOfK = (m: number, k: number): number =>
  m <= tileRows ? k : Math.min(k, m <= fewRows ? kPerBlockFewRows : kPerBlock);

/**
 * C[m, n] = clamp(alpha · Σ_k A[m, k] · B[k, n] + columnBias[n] + rowBias[m] (+ C[m, n]), low, high)
 *
 * Fields: pointers a, b (packed by `packGemm`), c, columnBias, rowBias (0: none); strides in elements; rowBiasStep
 * 0 or 1; accumulate 1 adds to C; low and high ∓∞ for none. The rest from `planGemm`.
 * Cost: 2·m·n·k operations; A is packed once per call and block of rows.
 * Numerics: float32, k in order within blocks of `kBlock`; one row sums four interleaved chains. |error| ≤
 * k·ε·Σ|a||b|.
 */
export const gemm = defineKernel({
  name: `f32-f32-f32w-gemm-${tileRows}x${panelColumns}c1-simd128`,
  isa: "simd128",
  fields: {
    a: "i32",
    b: "i32",
    c: "i32",
    columnBias: "i32",
    rowBias: "i32",
    rowBiasStep: "i32",
    m: "i32",
    n: "i32",
    k: "i32",
    aRow: "i32",
    aColumn: "i32",
    cRow: "i32",
    accumulate: "i32",
    rowBlock: "i32",
    columnBlock: "i32",
    kBlock: "i32",
    alpha: "f32",
    low: "f32",
    high: "f32",
  },
  item: "block of rowBlock rows × columnBlock columns, columns first",
  scratchBytes: ({ rowBlock, k }) => edgeBytes + 4 * rowBlock * k,
  build(code) {
    const { a, b, c, columnBias, rowBias, rowBiasStep, m, n, k, aRow, aColumn, cRow } = code.fields;
    const { accumulate, rowBlock, columnBlock, kBlock, alpha, low, high } = code.fields;
    const packedA = code.local("i32", i32.add(code.scratch, i32.const(edgeBytes)));
    const columnBlocks = code.local(
      "i32",
      i32.div_u(i32.add(n, i32.sub(columnBlock, i32.const(1))), columnBlock),
    );
    const packed = code.local("i32", i32.const(-1));
    const [block, row, rows, column, columns, bias] = code.locals(6, "i32");
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      block.set(i32.div_u(item, columnBlocks));
      row.set(i32.mul(block, rowBlock));
      rows.set(minimum(i32.sub(m, row), rowBlock));
      code.if(i32.ne(block, packed), () => {
        packed.set(block);
        packRows(code, {
          target: packedA,
          source: i32.add(a, elementsToBytes(i32.mul(row, aRow))),
          rows,
          k,
          kBlock,
          rowStep: elementsToBytes(aRow),
          kStep: elementsToBytes(aColumn),
          alpha,
        });
      });
      column.set(i32.mul(i32.rem_u(item, columnBlocks), columnBlock));
      columns.set(minimum(i32.sub(n, column), columnBlock));
      bias.set(i32.const(0));
      code.if(columnBias, () => bias.set(i32.add(columnBias, elementsToBytes(column))));
      const rowBiasAt = code.local("i32", i32.const(0));
      code.if(rowBias, () =>
        rowBiasAt.set(i32.add(rowBias, elementsToBytes(i32.mul(row, rowBiasStep)))),
      );
      multiplyBlock(code, {
        a: packedA,
        b: i32.add(b, elementsToBytes(i32.mul(column, k))),
        c: i32.add(c, elementsToBytes(i32.add(i32.mul(row, cRow), column))),
        cStep: elementsToBytes(cRow),
        rows,
        columns,
        k,
        kBlock,
        columnBias: bias,
        rowBias: rowBiasAt,
        rowBiasStep: elementsToBytes(rowBiasStep),
        accumulate,
        edge: code.scratch,
        low,
        high,
      });
    });
  },
});

type GemmFields = typeof gemm.fields;
type GemmPointers = "a" | "b" | "c" | "columnBias" | "rowBias";

export interface GemmPlan {
  readonly items: number;
  /** Every field but the pointers. */
  readonly values: Omit<FieldValues<GemmFields>, GemmPointers>;
}

export interface GemmOptions {
  /** Elements from row to row and from column to column of A; default [k, 1]. */
  readonly aStrides?: readonly [number, number];
  /** Elements from row to row of C; default n. */
  readonly cRow?: number;
  /** 0: one row bias for all rows; default 1. */
  readonly rowBiasStep?: 0 | 1;
  readonly accumulate?: boolean;
  readonly alpha?: number;
  /** The result is clamped to them: [0, ∞] is a ReLU. */
  readonly limits?: readonly [number, number];
}

/** The items and fields of a product [m, k] · [k, n]; k ≥ 1. */
export function planGemm(m: number, n: number, k: number, options: GemmOptions = {}): GemmPlan {
  const { aStrides = [k, 1], cRow = n, rowBiasStep = 1, accumulate, alpha = 1 } = options;
  const [low, high] = options.limits ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const columnBlock = panelsPerItem * panelColumns;
  const columnBlocks = Math.ceil(n / columnBlock);
  let rowBlock = rowsPerItem;
  while (rowBlock > 4 * tileRows && Math.ceil(m / rowBlock) * columnBlocks < fewItems) {
    rowBlock /= 2;
  }
  rowBlock = Math.min(m, rowBlock);
  return {
    items: Math.ceil(m / rowBlock) * columnBlocks,
    values: {
      rowBiasStep,
      m,
      n,
      k,
      aRow: aStrides[0],
      aColumn: aStrides[1],
      cRow,
      accumulate: accumulate ? 1 : 0,
      rowBlock,
      columnBlock,
      kBlock: blockOfK(m, k),
      alpha,
      low,
      high,
    },
  };
}

/** float32 elements of the packed B of a product; columns are padded to panels of 8. */
export const packedGemmLength = (n: number, k: number): number =>
  Math.ceil(n / panelColumns) * panelColumns * k;

/**
 * Packs B for `gemm`: [panel][k][8], the columns past n are 0.
 *
 * @param into - `packedGemmLength(n, k)` elements.
 * @param weight - B[k, n] at k · strides[0] + n · strides[1]: [n, 1] for [K, N], [1, k] for [N, K] row-major.
 */
export function packGemm(
  into: Float32Array,
  weight: Float32Array,
  n: number,
  k: number,
  strides: readonly [number, number],
): void {
  const [rowStride, columnStride] = strides;
  for (let panel = 0; panel * panelColumns < n; panel += 1) {
    const first = panel * panelColumns;
    const width = Math.min(panelColumns, n - first);
    const base = first * k;
    if (width < panelColumns) into.fill(0, base, base + panelColumns * k);
    for (let column = 0; column < width; column += 1) {
      let from = (first + column) * columnStride;
      let to = base + column;
      for (let row = 0; row < k; row += 1) {
        into[to] = weight[from];
        from += rowStride;
        to += panelColumns;
      }
    }
  }
}
