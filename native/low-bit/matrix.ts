/**
 * What a runtime needs to multiply with a low-bit matrix, without knowing a layout: sizes, packing, kernels, and for
 * each kernel the number of its items and the values of its fields.
 *
 *   const matrix = lowBitMatrix({ n, k, bits: 4, blockSize: 32, symmetric: true, activation: "int8" });
 *   matrix.pack(weights, memory.subarray(at, at + matrix.bytes));
 *   const calls = [
 *     quantizeActivations(m, k, "int8", { input, activations }),
 *     matrix.product(m, { activations, weights, bias, output }),
 *   ];
 *
 * Matrices with the same k and activation type can use one quantized input, whatever their bits and blocks.
 */
import type { FieldValues, Kernel } from "../kernel.ts";
import { activationLayout, rowTiles } from "./activations.ts";
import type { ActivationType } from "./arithmetic.ts";
import { type gatherFields, gatherKernel } from "./gather.ts";
import { type gemmFields, gemmKernel, mostTilesPerItem } from "./gemm.ts";
import { type gemvFields, gemvKernel } from "./gemv.ts";
import {
  type KernelFormat,
  lowBits,
  type MatrixLayout,
  type MatrixShape,
  matrixLayout,
} from "./layout.ts";
import { type LowBitWeights, packMatrix } from "./pack.ts";
import { type quantizeFields, quantizeKernels } from "./quantize.ts";

/** A kernel with the values of its fields and the number of its items. */
export interface KernelCall<F extends Readonly<Record<string, "i32" | "f32">>> {
  readonly kernel: Kernel<F>;
  readonly values: FieldValues<F>;
  readonly items: number;
}

/** Byte addresses in the memory of the kernels; multiples of 4, ids of 8. */
export interface ProductAddresses {
  readonly activations: number;
  readonly weights: number;
  /** float32 [n]; 0 for none. */
  readonly bias: number;
  /** float32 [m, n] */
  readonly output: number;
}

export interface LowBitMatrix {
  readonly shape: MatrixShape;
  /** Bytes of the packed weights. */
  readonly bytes: number;
  readonly layout: MatrixLayout;
  /** All kernels that calls of this matrix can name. */
  readonly kernels: readonly Kernel[];
  pack(weights: LowBitWeights, into: Uint8Array): void;
  /**
   * C = A · Wᵀ (+ bias) from quantized activations: the GEMV for one row, else the GEMM.
   *
   * @param threads - with few columns and many rows, the rows are split as well.
   */
  product(
    m: number,
    addresses: ProductAddresses,
    threads?: number,
  ): KernelCall<typeof gemvFields> | KernelCall<typeof gemmFields>;
  /** float32 rows of the matrix by ids (float64 [count]); negative ids count from the end. */
  gather(
    count: number,
    addresses: { readonly ids: number; readonly weights: number; readonly output: number },
  ): KernelCall<typeof gatherFields>;
}

interface FormatKernels {
  readonly gemv: Kernel<typeof gemvFields>;
  readonly gemm: Kernel<typeof gemmFields>;
  readonly gather: Kernel<typeof gatherFields>;
}

const formatKey = ({ bits, symmetric, activation }: KernelFormat): string =>
  `${bits} ${symmetric} ${activation}`;

const formats: readonly KernelFormat[] = lowBits.flatMap((bits) =>
  [true, false].flatMap((symmetric) =>
    (["int8", "int16"] as const).map((activation) => ({ bits, symmetric, activation })),
  ),
);

/** One kernel object per format, so that a module holds each once. */
const kernelTable: ReadonlyMap<string, FormatKernels> = new Map(
  formats.map((format) => [
    formatKey(format),
    { gemv: gemvKernel(format), gemm: gemmKernel(format), gather: gatherKernel(format) },
  ]),
);

/** Every low-bit kernel, for tests and tables. */
export const lowBitKernels: readonly Kernel[] = [
  ...Object.values(quantizeKernels),
  ...[...kernelTable.values()].flatMap(({ gemv, gemm, gather }) => [gemv, gemm, gather]),
];

/** Bytes of the quantized activations of m rows; see `activationLayout`. */
export const activationBytes = (m: number, k: number, activation: ActivationType): number =>
  activationLayout(m, k, activation).bytes;

/**
 * The call that quantizes float32 [m, k] into a buffer of `activationBytes`.
 */
export function quantizeActivations(
  m: number,
  k: number,
  activation: ActivationType,
  addresses: { readonly input: number; readonly activations: number },
): KernelCall<typeof quantizeFields> {
  const { codes, sums, scales, spans } = activationLayout(m, k, activation);
  const { tiles, rows, tallTiles } = rowTiles(m, activation);
  const base = addresses.activations;
  return {
    kernel: quantizeKernels[activation],
    items: tiles,
    values: {
      input: addresses.input,
      codes: base + codes,
      sums: base + sums,
      scales: base + scales,
      k,
      spans,
      rows,
      tallTiles,
    },
  };
}

/** @throws RangeError for a block size that is neither a multiple of 16 nor a whole row. */
export function lowBitMatrix(shape: MatrixShape): LowBitMatrix {
  const layout = matrixLayout(shape);
  const { format, block, blocks, panelBytes, panels } = layout;
  const { n, k, activation } = shape;
  const { gemv, gemm, gather } = kernelTable.get(formatKey(format)) as FormatKernels;
  return {
    shape,
    bytes: layout.bytes,
    layout,
    kernels: [quantizeKernels[activation], gemv, gemm, gather],
    pack: (weights, into) => packMatrix(shape, layout, weights, into),
    product(m, { activations, weights, bias, output }, threads = 1) {
      const { codes, sums, scales, spans } = activationLayout(m, k, activation);
      const common = {
        codes: activations + codes,
        sums: activations + sums,
        scales: activations + scales,
        weights,
        panelBytes,
        bias,
        output,
        n,
        blocks,
        block,
      };
      if (m === 1) return { kernel: gemv, items: panels, values: common };
      const { tiles, rows, tallTiles } = rowTiles(m, activation);
      const groups = rowGroups(tiles, panels, mostTilesPerItem[activation], threads);
      const tilesPerItem = Math.ceil(tiles / groups);
      return {
        kernel: gemm,
        items: Math.ceil(tiles / tilesPerItem) * panels,
        values: { ...common, spans, rows, tallTiles, tiles, tilesPerItem, panels },
      };
    },
    gather: (count, { ids, weights, output }) => ({
      kernel: gather,
      items: count,
      values: { ids, weights, panelBytes, output, n, k, blocks, block },
    }),
  };
}

/** Groups of row tiles: as few as the scratch memory allows, more only where panels are too few for the threads. */
function rowGroups(tiles: number, panels: number, most: number, threads: number): number {
  const needed = Math.ceil(tiles / most);
  // Four items per thread even out their speeds.
  const wanted = threads > 1 ? Math.ceil((4 * threads) / panels) : 1;
  return Math.max(needed, Math.min(tiles, wanted));
}
