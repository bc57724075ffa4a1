/**
 * Weight formats: how one weight matrix is stored. Plain data: printable, comparable, JSON-safe.
 * Not here: how many bytes a format takes in a file; that depends on the target (`rewrite/`).
 */
import { BitloomError } from "./errors.ts";

/** How one weight matrix is stored. */
export interface WeightFormat {
  /** "int4-b32", "int4-b32-asym", "int8-row", "float16", "float32"; float32 scales add "-s32". */
  readonly id: string;
  readonly kind: "integer" | "float";
  readonly bits: number;
  /** Consecutive K elements that share a scale; 0 = one scale per row (and for floats). */
  readonly blockSize: number;
  readonly symmetric: boolean;
  readonly scaleType: "float32" | "float16";
}

export const integerBits = [2, 3, 4, 5, 6, 8] as const;
export const minBlockSize = 16;
/** ONNX Runtime's MatMulNBits returned zeros at block 512 (onnxruntime#28551). */
export const maxBlockSize = 256;

export interface IntegerFormatOptions {
  readonly bits: number;
  readonly blockSize: number;
  readonly symmetric: boolean;
  readonly scaleType?: "float32" | "float16";
}

/** An integer format with its canonical id. */
export function integerFormat(options: IntegerFormatOptions): WeightFormat {
  const { bits, blockSize, symmetric, scaleType = "float16" } = options;
  const id = `int${bits}-${blockSize === 0 ? "row" : `b${blockSize}`}${symmetric ? "" : "-asym"}${scaleType === "float32" ? "-s32" : ""}`;
  return { id, kind: "integer", bits, blockSize, symmetric, scaleType };
}

/** Weights as they are. */
export const float32Format: WeightFormat = floatFormat(32);
/** Weights as float16. */
export const float16Format: WeightFormat = floatFormat(16);

function floatFormat(bits: 16 | 32): WeightFormat {
  return {
    id: `float${bits}`,
    kind: "float",
    bits,
    blockSize: 0,
    symmetric: true,
    scaleType: "float32",
  };
}

/**
 * Reads a format id.
 *
 * @throws bad-option - the id has another shape, an unknown width, or a block outside 16..256 or no power of two.
 */
export function parseFormat(id: string): WeightFormat {
  if (id === "float32") return float32Format;
  if (id === "float16") return float16Format;
  const match = /^int([1-9]\d*)-(?:b([1-9]\d*)|row)(-asym)?(-s32)?$/.exec(id);
  const bits = Number(match?.[1]);
  const blockSize = Number(match?.[2] ?? 0);
  const blockIsValid =
    blockSize === 0 ||
    (blockSize >= minBlockSize &&
      blockSize <= maxBlockSize &&
      Number.isInteger(Math.log2(blockSize)));
  if (!match || !(integerBits as readonly number[]).includes(bits) || !blockIsValid) {
    throw new BitloomError(
      "bad-option",
      `Unknown format "${id}": expected float32, float16 or intB-bG, intB-bG-asym, intB-row with B in ${integerBits.join(", ")} and G a power of two from ${minBlockSize} to ${maxBlockSize}, for example int4-b32-asym.`,
      { option: "formats", got: id },
    );
  }
  return integerFormat({
    bits,
    blockSize,
    symmetric: match[3] === undefined,
    scaleType: match[4] ? "float32" : "float16",
  });
}

/** The same format with another scale type. Floats have no scales and stay as they are. */
export function withScaleType(
  format: WeightFormat,
  scaleType: "float32" | "float16",
): WeightFormat {
  return format.kind === "float" ? format : integerFormat({ ...format, scaleType });
}

/** Columns that share a scale: the block, or the whole row. */
export function effectiveBlockSize(format: WeightFormat, k: number): number {
  return format.blockSize === 0 ? k : format.blockSize;
}

/** B: blocks per row, the last one possibly ragged. */
export function blocksPerRow(format: WeightFormat, k: number): number {
  return Math.ceil(k / effectiveBlockSize(format, k));
}

/** Every width of `bits` with every block size, symmetric and asymmetric, in that order. */
export function formatGrid(
  bits: readonly number[],
  blockSizes: readonly number[],
  scaleType: "float32" | "float16" = "float16",
): WeightFormat[] {
  return bits.flatMap((b) =>
    blockSizes.flatMap((blockSize) =>
      [true, false].map((symmetric) => integerFormat({ bits: b, blockSize, symmetric, scaleType })),
    ),
  );
}
