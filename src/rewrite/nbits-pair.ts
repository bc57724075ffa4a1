/**
 * 6 bits as two stock products: s·(q − z) = 4s·(q_hi − z_hi) + s·(q_lo − z_lo), where q = 4·q_hi + q_lo and
 * z = 4·z_hi + z_lo. Exact; both halves run on ONNX Runtime's 4- and 2-bit MatMulNBits.
 */
import { blocksPerRow } from "../core/format.ts";
import { bytesOf } from "../core/tensor.ts";
import { attribute, memoryTensor } from "../onnx/index.ts";
import type { Form, FormContext } from "./form.ts";
import { addMatMulNBits, floatScales } from "./matmul-nbits.ts";
import { gatherPackedPart } from "./packed.ts";
import { storedCodes, storedScales, storedZeroPoints } from "./stored.ts";

const high = (code: number) => code >> 2;
const low = (code: number) => code & 3;

export const nBitsPair: Form = {
  name: "MatMulNBits 4 + 2",
  stored: (layer, format) => [
    storedCodes(layer, format, { bits: 4, role: "codes_high", select: high }),
    storedCodes(layer, format, { bits: 2, role: "codes_low", select: low }),
    storedScales(layer, format),
    ...storedZeroPoints(layer, format, { bits: 4, role: "zero_points_high", select: high }),
    ...storedZeroPoints(layer, format, { bits: 2, role: "zero_points_low", select: low }),
  ],
  multiply(context, activation, output) {
    const { names, node } = context;
    const scales = floatScales(context);
    const highPart = addMatMulNBits(context, {
      activation,
      bits: 4,
      codes: names.get("codes_high") ?? "",
      scales: node("Mul", [scales, four(context)]),
      zeroPoints: names.get("zero_points_high"), // default 8 = 32 >> 2
    });
    const lowPart = addMatMulNBits(context, {
      activation,
      bits: 2,
      codes: names.get("codes_low") ?? "",
      scales,
      zeroPoints: names.get("zero_points_low") ?? zeros(context),
    });
    return node("Add", [highPart, lowPart], {}, { output });
  },
  gather(context, indices, output) {
    const { node } = context;
    const highPart = gatherPackedPart(context, indices, 4, "codes_high", "zero_points_high", 8);
    const lowPart = gatherPackedPart(context, indices, 2, "codes_low", "zero_points_low", 0);
    return node("Add", [node("Mul", [highPart, four(context)]), lowPart], {}, { output });
  },
};

function four({ node }: FormContext): string {
  const value = memoryTensor("four", "float32", [], bytesOf(Float32Array.of(4)));
  return node("Constant", [], { value: attribute.tensor(value) });
}

/** Zero points of the low half of a symmetric format: all 0, where MatMulNBits would assume 2. Takes no space. */
function zeros({ layer, format, node, ints }: FormContext): string {
  const count = layer.n * Math.ceil((blocksPerRow(format, layer.k) * 2) / 8);
  const value = memoryTensor("zero", "uint8", [1], new Uint8Array(1));
  return node("ConstantOfShape", [ints([count])], { value: attribute.tensor(value) });
}
