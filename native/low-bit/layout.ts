/**
 * How a weight matrix lies in memory for the kernels. Columns of the product (rows of the ONNX weight, N of them) come
 * in panels; a panel holds its blocks in the order of K, so a kernel reads it front to back:
 *
 *   block := [zero points: a byte per column, padded to 16]  [codes]  [scales: float32 per column]
 *   codes := for each chunk of K, for each quad of 4 columns, `words` vectors; a 32-bit lane belongs to one column
 *
 * Invariant: everything here follows from (bits, block size, symmetry, activation type, n, k) alone, so the size is
 * known before the weights are.
 */
import { type ActivationType, type Arithmetic, arithmetics } from "./arithmetic.ts";
import { type BitLayout, bitLayout } from "./bit-layout.ts";

export type LowBits = 2 | 3 | 4 | 5 | 6 | 8;
export const lowBits: readonly LowBits[] = [2, 3, 4, 5, 6, 8];

/** K elements that share one activation scale, and the largest block of the kernels. */
export const spanSize = 128;

/** What the code of a kernel depends on. */
export interface KernelFormat {
  /** Bits as stored; see `storedBits`. */
  readonly bits: LowBits;
  /** All zero points are 2^(bits − 1). */
  readonly symmetric: boolean;
  readonly activation: ActivationType;
}

/** Facts of a format that both the packer and the generator use. */
export interface PanelLayout {
  readonly arithmetic: Arithmetic;
  readonly bitLayout: BitLayout;
  readonly quads: number;
  readonly columns: number;
  /** k per chunk: the smallest run of K that fills whole words. */
  readonly chunk: number;
  readonly chunkBytes: number;
  readonly zeroPointBytes: number;
  readonly scaleBytes: number;
}

export function panelLayout({ bits, symmetric, activation }: KernelFormat): PanelLayout {
  const arithmetic = arithmetics[activation];
  const layout = bitLayout(bits, arithmetic.laneBits);
  const quads = panelQuads[activation][bits];
  return {
    arithmetic,
    bitLayout: layout,
    quads,
    columns: 4 * quads,
    chunk: layout.codes.length * arithmetic.codesPerLane,
    chunkBytes: 16 * quads * layout.words,
    zeroPointBytes: symmetric ? 0 : 16,
    scaleBytes: 16 * quads,
  };
}

/** Quads of four columns per panel, by measurement (Zen 5; K 2048, N 5632). */
const panelQuads: Readonly<Record<ActivationType, Readonly<Record<LowBits, 2 | 4>>>> = {
  int8: { 2: 4, 3: 4, 4: 4, 5: 4, 6: 4, 8: 4 },
  int16: { 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 8: 2 },
};

export interface MatrixShape {
  /** Output features. */
  readonly n: number;
  /** Input features. */
  readonly k: number;
  readonly bits: LowBits;
  /** K elements that share a scale: a multiple of 16, or at least k (one scale per row). */
  readonly blockSize: number;
  readonly symmetric: boolean;
  readonly activation: ActivationType;
}

/** A matrix in the kernels' terms. */
export interface MatrixLayout {
  readonly format: KernelFormat;
  readonly panel: PanelLayout;
  /** K elements per stored block: 16, 32, 64 or 128. */
  readonly block: number;
  readonly blocks: number;
  readonly blockBytes: number;
  readonly panelBytes: number;
  readonly panels: number;
  readonly bytes: number;
}

/** True when the kernels take blocks of this size. */
export const supportsBlockSize = (k: number, blockSize: number): boolean =>
  Number.isInteger(blockSize) && (blockSize >= k || (blockSize > 0 && blockSize % 16 === 0));

/**
 * The layout of a matrix. Blocks that the kernels do not have are cut into smaller ones that repeat the scale.
 * Bits 3 and 5 fill words of 32 k only, so in blocks of 16 they are stored in 4 and 6 bits.
 *
 * @throws RangeError for a block size that is not a multiple of 16.
 */
export function matrixLayout(shape: MatrixShape): MatrixLayout {
  const { n, k, symmetric, activation } = shape;
  if (!supportsBlockSize(k, shape.blockSize)) {
    throw new RangeError(`block size ${shape.blockSize} is not a multiple of 16`);
  }
  const block = kernelBlock(k, shape.blockSize);
  const format = { bits: storedBits(shape.bits, block), symmetric, activation };
  const panel = panelLayout(format);
  const blocks = Math.ceil(k / block);
  const blockBytes =
    panel.zeroPointBytes + (block / panel.chunk) * panel.chunkBytes + panel.scaleBytes;
  const panelBytes = blocks * blockBytes;
  const panels = Math.ceil(n / panel.columns);
  return {
    format,
    panel,
    block,
    blocks,
    blockBytes,
    panelBytes,
    panels,
    bytes: panels * panelBytes,
  };
}

function storedBits(bits: LowBits, block: number): LowBits {
  if (block > 16) return bits;
  if (bits === 3) return 4;
  return bits === 5 ? 6 : bits;
}

/** The largest block of the kernels that divides the model's, or for whole rows K up to a padding of 31. */
function kernelBlock(k: number, blockSize: number): number {
  const covered = blockSize >= k ? 32 * Math.ceil(k / 32) : blockSize;
  return [128, 64, 32].find((size) => covered % size === 0) ?? 16;
}
