/**
 * The internal nodes that every low-bit product and lookup of a file is turned into: one form, whatever the file calls
 * it, whose inputs are the stored tensors themselves.
 *
 *   bitloom.internal::LowBitMatMul (activation, quantized, bias, codes, scales, zero points, low codes, low zero points)
 *   bitloom.internal::LowBitGather (ids,        -,         -,    codes, scales, …)
 *
 * Invariant: two nodes with the same matrix have the same codes, scales and zero points by name, so that they share
 * one packed buffer.
 */
import { type LowBits, lowBits, supportsBlockSize } from "../../../../native/index.ts";
import type { DType } from "../../../core/tensor.ts";
import { attribute } from "../../../onnx/portable.ts";
import { internalDomain, type NewNode } from "../../session/node-graph.ts";
import type { OperatorNode } from "../../session/operator.ts";
import { intAttribute, textAttribute } from "../tensor/attributes.ts";

export const lowBitMatMul = "LowBitMatMul";
export const lowBitGather = "LowBitGather";
export const quantizeActivation = "QuantizeActivation";

/** A weight W [N, K] = scale · (code − zero point), and the values that hold it. */
export interface LowBitWeight {
  readonly n: number;
  readonly k: number;
  readonly bits: LowBits;
  /** K elements that share a scale; at least k for whole rows. */
  readonly blockSize: number;
  /** Zero point of all blocks where none are stored, of unsigned codes. */
  readonly zeroPoint: number;
  /**
   * uint8: a stream of `bits`-wide codes per block of a row, least significant bits first; of other types the codes
   * are the elements, [N, K].
   */
  readonly codes: string;
  /** N · ceil(K / blockSize) floats. */
  readonly scales: string;
  /** "" or, for uint8, a stream per row; for other types an element per block. */
  readonly zeroPoints: string;
  /** The low 2 bits of 6-bit codes whose high 4 are `codes`; "" for all others. */
  readonly lowCodes: string;
  readonly lowZeroPoints: string;
}

/** Y = A · Wᵀ (+ bias), or rows of W by id. */
export interface LowBitUse {
  readonly kind: typeof lowBitMatMul | typeof lowBitGather;
  readonly weight: LowBitWeight;
  /** Activation or ids. */
  readonly input: string;
  /** The activation as `QuantizeActivation` makes it, or "". */
  readonly quantized: string;
  readonly bias: string;
  /** Element type of the result; undefined: that of the activation. */
  readonly dtype: DType | undefined;
}

/** Positions of the inputs. */
export const lowBitInputs = {
  input: 0,
  quantized: 1,
  bias: 2,
  codes: 3,
  scales: 4,
  zeroPoints: 5,
  lowCodes: 6,
  lowZeroPoints: 7,
} as const;

/** The internal node of a use. */
export function lowBitNode(use: LowBitUse, name: string, output: string): NewNode {
  const { kind, weight, input, quantized, bias, dtype } = use;
  const { codes, scales, zeroPoints, lowCodes, lowZeroPoints } = weight;
  return {
    name,
    opType: kind,
    domain: internalDomain,
    inputs: [input, quantized, bias, codes, scales, zeroPoints, lowCodes, lowZeroPoints],
    outputs: [output],
    attributes: {
      N: attribute.int(weight.n),
      K: attribute.int(weight.k),
      bits: attribute.int(weight.bits),
      block_size: attribute.int(weight.blockSize),
      zero_point: attribute.int(weight.zeroPoint),
      ...(dtype && { dtype: attribute.str(dtype) }),
    },
  };
}

/** What an internal node says; undefined for other nodes. */
export function readLowBitNode(node: OperatorNode): LowBitUse | undefined {
  const { domain, opType, inputs } = node;
  if (domain !== internalDomain || (opType !== lowBitMatMul && opType !== lowBitGather)) {
    return undefined;
  }
  const [input, quantized, bias, codes, scales, zeroPoints, lowCodes, lowZeroPoints] = inputs;
  const weight: LowBitWeight = {
    n: intAttribute(node, "N", 0),
    k: intAttribute(node, "K", 0),
    bits: intAttribute(node, "bits", 4) as LowBits,
    blockSize: intAttribute(node, "block_size", 0),
    zeroPoint: intAttribute(node, "zero_point", 0),
    codes,
    scales,
    zeroPoints,
    lowCodes,
    lowZeroPoints,
  };
  const dtype = (textAttribute(node, "dtype", "") || undefined) as DType | undefined;
  return { kind: opType, weight, input, quantized, bias, dtype };
}

/** Why the kernels cannot take a weight of this shape, or undefined. */
export function whyNotLowBit(
  weight: Pick<LowBitWeight, "n" | "k" | "blockSize"> & { readonly bits: number },
): string | undefined {
  const { n, k, bits, blockSize } = weight;
  if (!(lowBits as readonly number[]).includes(bits))
    return `there are no kernels for ${bits} bits`;
  const isCount = (value: number) => Number.isInteger(value) && value > 0;
  if (!isCount(n) || !isCount(k)) return `a weight of [${n}, ${k}] has no elements`;
  if (!supportsBlockSize(k, blockSize)) return `block size ${blockSize} is no multiple of 16`;
  return undefined;
}
