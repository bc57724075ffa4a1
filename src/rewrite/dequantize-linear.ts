/**
 * Standard DequantizeLinear in front of the float product. The weight is stored [N, K] with blocks on the last axis
 * and transposed after dequantization: the [K, N] form loses accuracy or fails once ONNX Runtime optimises it
 * (default optimisation of 1.29 miscomputed int4 on axis 0).
 */
import { invariant } from "../core/errors.ts";
import { blocksPerRow, type WeightFormat } from "../core/format.ts";
import { packCodes } from "../core/packing.ts";
import type { DType } from "../core/tensor.ts";
import { attribute } from "../onnx/index.ts";
import type { Form, FormContext, StoredTensor } from "./form.ts";
import { floatScales } from "./matmul-nbits.ts";
import { storedScales } from "./stored.ts";

export const dequantizeLinear: Form = {
  name: "DequantizeLinear",
  stored(layer, format) {
    const { n, k } = layer;
    const { bits, blockSize, symmetric } = format;
    const dtype = codeType(format);
    const perBlock = blockSize === 0 ? [n] : [n, blocksPerRow(format, k)];
    const codes: StoredTensor = {
      role: "codes",
      dtype,
      // Rank 3 for whole rows: see `dequantized`.
      shape: blockSize === 0 ? [1, n, k] : [n, k],
      fill: async (weight) => packed(signed((await weight.quantized()).codes, format), bits),
    };
    const zeroPoints: StoredTensor = {
      role: "zero_points",
      dtype,
      shape: perBlock,
      fill: async (weight) => {
        const { zeroPoints: points } = await weight.quantized();
        invariant(points, `${format.id} has no zero points`);
        return packed(points, bits);
      },
    };
    return [codes, storedScales(layer, format, perBlock), ...(symmetric ? [] : [zeroPoints])];
  },
  multiply(context, activation, output) {
    const { node } = context;
    const transposed = node("Transpose", [dequantized(context)], { perm: attribute.ints([1, 0]) });
    return node("MatMul", [activation, transposed], {}, { output });
  },
  gather(context, indices, output) {
    return context.node(
      "Gather",
      [dequantized(context), indices],
      { axis: attribute.int(0) },
      { output },
    );
  },
  unpack: dequantized,
};

/** Symmetric codes are stored signed and need no zero point; asymmetric ones unsigned, as they are. */
function codeType(format: WeightFormat): DType {
  return `${format.symmetric ? "int" : "uint"}${format.bits}` as DType;
}

function signed(codes: Uint8Array, format: WeightFormat): Uint8Array {
  const zero = 2 ** (format.bits - 1);
  const mask = 2 ** format.bits - 1;
  return format.symmetric ? codes.map((code) => (code - zero) & mask) : codes;
}

/** ONNX packs sub-byte elements over the whole tensor, low bits first. */
const packed = (values: Uint8Array, bits: number) =>
  packCodes(values, 1, values.length, bits, values.length);

/**
 * The weight in float32, [N, K]. Whole rows are dequantized as [1, N, K] and reshaped: ONNX Runtime 1.30 fuses
 * DequantizeLinear of a matrix with one scale per row and the product into MatMulNBits at accuracy_level 4, which
 * rounds the activations to 8 bits (error 0.5 % where float32 has 1e-6).
 */
function dequantized(context: FormContext): string {
  const { format, layer, tensor, node, ints } = context;
  const inputs = [
    tensor("codes"),
    floatScales(context),
    ...(format.symmetric ? [] : [tensor("zero_points")]),
  ];
  const axis = attribute.int(1);
  if (format.blockSize > 0) {
    return node("DequantizeLinear", inputs, {
      axis,
      block_size: attribute.int(format.blockSize),
    });
  }
  return node("Reshape", [node("DequantizeLinear", inputs, { axis }), ints([layer.n, layer.k])]);
}

/** Why this form cannot hold the format at this opset, or undefined when it can. */
export function whyNotDequantizeLinear(format: WeightFormat, opset: number): string | undefined {
  if (![2, 4, 8].includes(format.bits)) return `DequantizeLinear has no ${format.bits}-bit type`;
  const needed = format.bits === 2 ? 25 : format.bits === 4 || format.blockSize > 0 ? 21 : 13;
  if (opset >= needed) return undefined;
  const what = format.blockSize > 0 && format.bits === 8 ? "blocks" : `${format.bits}-bit codes`;
  return `DequantizeLinear has ${what} from opset ${needed}; the model imports ${opset}`;
}
