/**
 * From the tensors that a file stores for a low-bit matrix to the packed panels of the kernels, once, when a session
 * opens. Invariant: sizes are checked here against N, K, bits and blocks; kernels trust them.
 */
import {
  type ActivationType,
  activationTypeFor,
  type LowBitMatrix,
  type LowBits,
  type LowBitWeights,
  lowBitMatrix,
  type MatrixShape,
  readCodes,
} from "../../../../native/index.ts";
import { BitloomError } from "../../../core/errors.ts";
import { unpackCodes } from "../../../core/packing.ts";
import type { CompileContext, OperatorNode } from "../../session/operator.ts";
import type { HostTensor } from "../../session/storage.ts";
import { type LowBitWeight, lowBitInputs } from "./low-bit-node.ts";

export interface PackedWeight {
  readonly matrix: LowBitMatrix;
  /** Byte address of the panels. */
  readonly pointer: number;
}

/** The activations that codes of this width are multiplied with. */
export const activationTypeOf = (
  { precision, tiers }: CompileContext,
  bits: LowBits,
): ActivationType => activationTypeFor(bits, tiers, precision === "exact");

/**
 * The packed weights of an internal node; nodes that name the same tensors share them.
 *
 * Throws: bad-model when a tensor has another size than N, K, bits and blocks ask for.
 */
export function packedWeight(
  node: OperatorNode,
  weight: LowBitWeight,
  context: CompileContext,
): Promise<PackedWeight> {
  const activation = activationTypeOf(context, weight.bits);
  return context.shared(JSON.stringify(["low-bit", activation, weight]), async () => {
    const { n, k, bits, blockSize, zeroPoint } = weight;
    const blocks = n * Math.ceil(k / blockSize);
    const zeroPoints = await readZeroPoints(node, weight, context);
    const half = 2 ** (bits - 1);
    const isSymmetric = zeroPoints
      ? zeroPoints.every((value) => value === half)
      : zeroPoint === half;
    const shape: MatrixShape = { n, k, bits, blockSize, symmetric: isSymmetric, activation };
    const matrix = lowBitMatrix(shape);
    const scales = await constantOf(node, context, lowBitInputs.scales, "scales");
    checkLength(node, "scales", scales.data.length, blocks, "numbers");
    const weights: LowBitWeights = {
      readRow: await rowReader(node, weight, context),
      scales: scales.data,
      zeroPoints: isSymmetric ? undefined : (zeroPoints ?? new Uint8Array(blocks).fill(zeroPoint)),
    };
    const { pointer, bytes } = context.reserve(matrix.bytes);
    matrix.pack(weights, bytes);
    return { matrix, pointer };
  });
}

type ReadRow = LowBitWeights["readRow"];

async function rowReader(
  node: OperatorNode,
  weight: LowBitWeight,
  context: CompileContext,
): Promise<ReadRow> {
  if (!weight.lowCodes) {
    return fieldReader(node, weight, context, lowBitInputs.codes, weight.bits);
  }
  const high = await fieldReader(node, weight, context, lowBitInputs.codes, 4);
  const low = await fieldReader(node, weight, context, lowBitInputs.lowCodes, 2);
  const lowRow = new Uint8Array(weight.k);
  return (row, into) => {
    high(row, into);
    low(row, lowRow);
    for (let i = 0; i < into.length; i++) into[i] = 4 * into[i] + lowRow[i];
  };
}

/** Reads the rows of one stored tensor of codes as unsigned numbers. */
async function fieldReader(
  node: OperatorNode,
  { n, k, blockSize }: LowBitWeight,
  context: CompileContext,
  input: number,
  bits: number,
): Promise<ReadRow> {
  const { dtype, stream, width } = await storedCodes(node, context, input, bits, { n, k });
  // Blocks of uint8 streams are padded to their full length; elements, and some lookups, have exactly K codes per row.
  const paddedBytes = Math.ceil(k / blockSize) * Math.ceil(blockSize / 8) * width;
  const isPadded = dtype === "uint8" && stream.length === n * paddedBytes;
  const rowBytes = isPadded ? paddedBytes : (k * width) / 8;
  const expected = Number.isInteger(rowBytes) ? n * rowBytes : n * paddedBytes;
  checkLength(node, "codes", stream.length, expected, "bytes");
  // Two's complement with its sign bit turned is the code + 2^(bits − 1).
  const signBit = dtype.startsWith("u") ? 0 : 2 ** (bits - 1);
  const mask = 2 ** bits - 1;
  return (row, into) => {
    readCodes(stream, row * rowBytes, width, k, into);
    if (signBit > 0) for (let i = 0; i < k; i++) into[i] = (into[i] ^ signBit) & mask;
  };
}

interface StoredCodes {
  readonly dtype: string;
  readonly stream: Uint8Array;
  /** Bits of a code in the stream. */
  readonly width: number;
}

/** Codes as a stream whose rows begin at whole bytes. */
async function storedCodes(
  node: OperatorNode,
  context: CompileContext,
  input: number,
  bits: number,
  { n, k }: Pick<LowBitWeight, "n" | "k">,
): Promise<StoredCodes> {
  const count = n * k;
  const raw = await context.initializerBytes(input);
  const dtype = context.dtype(input);
  if (raw && dtype) {
    // Sub-byte elements follow each other without gaps, so rows may begin inside a byte.
    const isAligned = dtype === "uint8" || (k * bits) % 8 === 0;
    if (isAligned) return { dtype, stream: raw, width: bits };
    return { dtype, stream: unpackCodes(raw, 1, count, bits, count), width: 8 };
  }
  const made = await constantOf(node, context, input, "codes");
  const { buffer, byteOffset, byteLength } = made.data;
  const stream = new Uint8Array(buffer, byteOffset, byteLength);
  // Computed sub-byte elements take a byte each.
  return { dtype: made.dtype, stream, width: made.dtype === "uint8" ? bits : 8 };
}

/** A zero point per block for unsigned codes; undefined when none are stored. */
async function readZeroPoints(
  node: OperatorNode,
  weight: LowBitWeight,
  context: CompileContext,
): Promise<Uint8Array | undefined> {
  const { bits, lowCodes, zeroPoints, lowZeroPoints } = weight;
  if (!lowCodes) {
    return zeroPoints ? zeroField(node, weight, context, lowBitInputs.zeroPoints, bits) : undefined;
  }
  if (!zeroPoints && !lowZeroPoints) return undefined;
  const high = zeroPoints
    ? await zeroField(node, weight, context, lowBitInputs.zeroPoints, 4)
    : undefined;
  const low = lowZeroPoints
    ? await zeroField(node, weight, context, lowBitInputs.lowZeroPoints, 2)
    : undefined;
  const blocks = weight.n * Math.ceil(weight.k / weight.blockSize);
  return Uint8Array.from(
    { length: blocks },
    (_, at) => 4 * (high?.[at] ?? weight.zeroPoint >> 2) + (low?.[at] ?? weight.zeroPoint & 3),
  );
}

async function zeroField(
  node: OperatorNode,
  { n, k, blockSize }: LowBitWeight,
  context: CompileContext,
  input: number,
  bits: number,
): Promise<Uint8Array> {
  const { dtype, data } = await constantOf(node, context, input, "zero points");
  const blocks = Math.ceil(k / blockSize);
  if (dtype === "uint8") {
    const rowBytes = Math.ceil((blocks * bits) / 8);
    checkLength(node, "zero points", data.length, n * rowBytes, "bytes");
    return unpackCodes(data as Uint8Array, n, blocks, bits, blocks);
  }
  if (!/^u?int[248]$/.test(dtype)) {
    throw new BitloomError(
      "unsupported",
      `Node "${node.name}" has zero points of ${dtype}; expected packed uint8. Quantize the model with integer zero points.`,
      { what: `zero points of ${dtype}`, node: node.name },
    );
  }
  checkLength(node, "zero points", data.length, n * blocks, "numbers");
  const shift = dtype.startsWith("u") ? 0 : 2 ** (bits - 1);
  return Uint8Array.from(data, (value) => value + shift);
}

async function constantOf(
  node: OperatorNode,
  context: CompileContext,
  input: number,
  what: string,
): Promise<HostTensor> {
  const tensor = await context.constant(input);
  if (tensor) return tensor;
  throw new BitloomError(
    "unsupported",
    `The ${what} of node "${node.name}" cannot be read. Quantize the model with stored weights of an integer type.`,
    { what, node: node.name },
  );
}

/** Throws: bad-model, naming the node. */
function checkLength(
  { name, inputs }: OperatorNode,
  what: string,
  got: number,
  expected: number,
  unit: string,
): void {
  if (got === expected) return;
  throw new BitloomError(
    "bad-model",
    `Node "${name}" has corrupt packed weights: expected ${expected} ${unit} of ${what} by its K, N, bits and block_size, got ${got}. Write the model again.`,
    { file: inputs[lowBitInputs.codes], where: name },
  );
}
