/**
 * What the low-bit operators of files mean: com.microsoft::MatMulNBits, com.microsoft::GatherBlockQuantized, and the
 * functions bitloom::MatMulPacked… and bitloom::GatherPacked…. Each reader gives the use, or the reason why there are
 * no kernels for the node.
 */
import type { LowBits } from "../../../../native/index.ts";
import type { DType } from "../../../core/tensor.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import { intAttribute } from "../tensor/attributes.ts";
import {
  type LowBitUse,
  type LowBitWeight,
  lowBitGather,
  lowBitMatMul,
  whyNotLowBit,
} from "./low-bit-node.ts";

/** What readers ask about values. */
export interface ValueFacts {
  isConstant(value: string): boolean;
  dtype(value: string): DType | undefined;
  /** Shape of an initializer. */
  shape(value: string): readonly number[] | undefined;
  /** The initializer with the same numbers, behind Reshape and widening Cast; the value itself where there is none. */
  traced(value: string): string;
}

export type LowBitReader = (node: OperatorNode, facts: ValueFacts) => LowBitUse | string;

type Stored = Pick<LowBitWeight, "codes" | "scales" | "zeroPoints">;

/** The stored tensors by their names in the file, or why they cannot be packed when the session opens. */
function storedOf(
  facts: ValueFacts,
  codes: string | undefined,
  scales: string | undefined,
  zeroPoints: string | undefined,
): Stored | string {
  if (!codes || !scales) return "its codes or scales are missing";
  const stored = {
    codes: facts.traced(codes),
    scales: facts.traced(scales),
    zeroPoints: zeroPoints ? facts.traced(zeroPoints) : "",
  };
  const variable = Object.values(stored).find((value) => value && !facts.isConstant(value));
  return variable === undefined ? stored : `its weights ("${variable}") are no constants`;
}

const withoutLowField = { lowCodes: "", lowZeroPoints: "" };

/** A: [.., K]; B: uint8 [N, blocks, bytes]; zero point 2^(bits − 1) unless stored. */
export const readMatMulNBits: LowBitReader = (node, facts) => {
  const [input, codes, scales, zeroPoints, permutation, bias = ""] = node.inputs;
  if (permutation) return "its weights are permuted (g_idx)";
  if (intAttribute(node, "weight_prepacked", 0) !== 0) return "its weights are prepacked";
  const stored = storedOf(facts, codes, scales, zeroPoints);
  if (typeof stored === "string") return stored;
  const zeroType = stored.zeroPoints ? facts.dtype(stored.zeroPoints) : undefined;
  if (zeroType && zeroType !== "uint8") return `its zero points are ${zeroType}`;
  const shape = {
    n: intAttribute(node, "N", 0),
    k: intAttribute(node, "K", 0),
    bits: intAttribute(node, "bits", 4) as LowBits,
    blockSize: intAttribute(node, "block_size", 0),
  };
  const reason = whyNotLowBit(shape);
  if (reason) return reason;
  const weight = { ...shape, ...stored, ...withoutLowField, zeroPoint: 2 ** (shape.bits - 1) };
  return { kind: lowBitMatMul, weight, input, quantized: "", bias, dtype: undefined };
};

/** data: uint8 [N, bytes], int4 or uint4 [N, K]; rows by id. */
export const readGatherBlockQuantized: LowBitReader = (node, facts) => {
  const [codes, input, scales, zeroPoints] = node.inputs;
  if (intAttribute(node, "gather_axis", 0) !== 0) return "it gathers along another axis than 0";
  if (![1, -1].includes(intAttribute(node, "quantize_axis", 1))) {
    return "its blocks lie along another axis than the last";
  }
  const stored = storedOf(facts, codes, scales, zeroPoints);
  if (typeof stored === "string") return stored;
  const dims = facts.shape(stored.codes);
  const dtype = facts.dtype(stored.codes);
  const isMatrix = dims && (dims.length === 2 || (dims.length > 2 && stored.codes !== codes));
  if (!isMatrix || !dtype) return "its table is no matrix that the file holds";
  const bits = dtype.endsWith("4") ? 4 : intAttribute(node, "bits", 4);
  const perRow = dims.slice(1).reduce((count, size) => count * size, 1);
  const shape = {
    n: dims[0],
    k: dtype === "uint8" ? (perRow * 8) / bits : perRow,
    bits: bits as LowBits,
    blockSize: intAttribute(node, "block_size", 128),
  };
  const reason = whyNotLowBit(shape);
  if (reason) return reason;
  const zeroPoint = dtype === "uint4" ? 0 : 2 ** (bits - 1);
  const weight = { ...shape, ...stored, ...withoutLowField, zeroPoint };
  const type = facts.dtype(scales) ?? "float32";
  return { kind: lowBitGather, weight, input, quantized: "", bias: "", dtype: type };
};

/** "MatMulPacked3SymmetricRaggedK100": the width and the zero point; the rest follows from attributes and shapes. */
const packedName = /^(MatMul|Gather)Packed(\d)(Symmetric|Zero(\d+))?(Ragged)?(K\d+)?(B\d+)?$/;

/** The functions that bitloom writes; see src/rewrite/packed-functions.ts. */
export const readPackedFunction: LowBitReader = (node, facts) => {
  const match = packedName.exec(node.opType);
  if (!match) return `bitloom has no function ${node.opType}`;
  const [, operation, digits, constantZero, zero] = match;
  const [input, codes, scales, zeroPoints] = node.inputs;
  const stored = storedOf(facts, codes, scales, constantZero ? "" : zeroPoints);
  if (typeof stored === "string") return stored;
  const bits = Number(digits) as LowBits;
  const shape = {
    n: intAttribute(node, "N", 0),
    k: intAttribute(node, "K", 0),
    bits,
    blockSize: intAttribute(node, "block_size", 0),
  };
  const reason = whyNotLowBit(shape);
  if (reason) return reason;
  const zeroPoint = zero === undefined ? 2 ** (bits - 1) : Number(zero);
  const weight = { ...shape, ...stored, ...withoutLowField, zeroPoint };
  const kind = operation === "MatMul" ? lowBitMatMul : lowBitGather;
  return { kind, weight, input, quantized: "", bias: "", dtype: "float32" };
};

/** The reader of a node; undefined for other operators. */
export function lowBitReader({ domain, opType }: OperatorNode): LowBitReader | undefined {
  if (domain === "bitloom") return readPackedFunction;
  if (domain !== "com.microsoft") return undefined;
  if (opType === "MatMulNBits") return readMatMulNBits;
  return opType === "GatherBlockQuantized" ? readGatherBlockQuantized : undefined;
}

/**
 * The operators that stand for what a fusion has not turned into internal nodes: they only say why. Without shapes of
 * initializers a lookup cannot be read here, so its reason is general.
 */
export const refusedLowBit: Operator = {
  refuses(node, context) {
    const at = (value: string) => node.inputs.indexOf(value);
    const reader = lowBitReader(node);
    const use = reader?.(node, {
      isConstant: (value) => context.isConstant(at(value)),
      dtype: (value) => context.dtype(at(value)),
      shape: () => undefined,
      traced: (value) => value,
    });
    return typeof use === "string" ? use : "its weights cannot be packed";
  },
  infer: () => [],
};
