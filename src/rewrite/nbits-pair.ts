/**
 * 6 bits as two stock products: s·(q − z) = 4s·(q_hi − z_hi) + s·(q_lo − z_lo), where q = 4·q_hi + q_lo and
 * z = 4·z_hi + z_lo. Exact; both halves run on ONNX Runtime's 4- and 2-bit MatMulNBits.
 */
import { blocksPerRow, type WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import { attribute, memoryTensor } from "../onnx/index.ts";
import type { Form, FormContext, StoredTensor } from "./form.ts";
import { addMatMulNBits, floatScales } from "./matmul-nbits.ts";
import { gatherPackedField, type TableField } from "./packed.ts";
import { storedCodes, storedScales, storedZeroPoints } from "./stored.ts";

const highField: TableField = {
  bits: 4,
  codes: "codes_high",
  zeroPoints: "zero_points_high",
  symmetricZero: 8, // 32 >> 2
};
const lowField: TableField = {
  bits: 2,
  codes: "codes_low",
  zeroPoints: "zero_points_low",
  symmetricZero: 0, // 32 & 3
};
const high = (code: number) => code >> 2;
const low = (code: number) => code & 3;

/**
 * The pair of products.
 *
 * @param zeros - the zero points of a symmetric low half, all 0 where MatMulNBits would assume 2: "computed" takes no
 *   space in the file; "stored" is what accuracy_level 4 needs, which gives wrong sums where zero points are computed by
 *   a node that is not folded away (error 20 % on 1.30 with optimisation off).
 */
export function nBitsPair(zeros: "computed" | "stored"): Form {
  return {
    name: "MatMulNBits 4 + 2",
    stored: (layer, format) => [
      storedCodes(layer, format, { bits: 4, role: highField.codes, select: high }),
      storedCodes(layer, format, { bits: 2, role: lowField.codes, select: low }),
      storedScales(layer, format),
      ...storedZeroPoints(layer, format, { bits: 4, role: highField.zeroPoints, select: high }),
      ...(format.symmetric && zeros === "stored"
        ? [storedZeros(layer, format)]
        : storedZeroPoints(layer, format, { bits: 2, role: lowField.zeroPoints, select: low })),
    ],
    multiply(context, activation, output) {
      const { tensor } = context;
      const { symmetric } = context.format;
      // Both products read the scales themselves: computed scales have the same effect as computed zero points.
      const scales = floatScales(context);
      const product = ({ bits, codes }: TableField, zeroPoints: string | undefined) =>
        addMatMulNBits(context, {
          activation,
          bits,
          codes: tensor(codes),
          scales,
          zeroPoints,
        });
      // MatMulNBits assumes 8, which is right for the high half, where there are none.
      const highPart = product(highField, symmetric ? undefined : tensor(highField.zeroPoints));
      const isComputed = symmetric && zeros === "computed";
      const lowZeros = isComputed ? computedZeros(context) : tensor(lowField.zeroPoints);
      const lowPart = product(lowField, lowZeros);
      return combined(context, highPart, lowPart, output);
    },
    gather(context, indices, output) {
      const highPart = gatherPackedField(context, indices, highField);
      const lowPart = gatherPackedField(context, indices, lowField);
      return combined(context, highPart, lowPart, output);
    },
  };
}

/** 4 · high + low. */
function combined(context: FormContext, high: string, low: string, output?: string): string {
  const { node } = context;
  const value = memoryTensor("four", "float32", [], Float32Array.of(4));
  const four = node("Constant", [], { value: attribute.tensor(value) });
  return node("Add", [node("Mul", [high, four]), low], {}, { output });
}

const zerosLength = (layer: Layer, format: WeightFormat) =>
  layer.n * Math.ceil((blocksPerRow(format, layer.k) * 2) / 8);

function storedZeros(layer: Layer, format: WeightFormat): StoredTensor {
  const length = zerosLength(layer, format);
  const fill = async () => new Uint8Array(length);
  return { role: lowField.zeroPoints, dtype: "uint8", shape: [layer.n, length / layer.n], fill };
}

function computedZeros({ layer, format, node, ints }: FormContext): string {
  const value = memoryTensor("zero", "uint8", [1], new Uint8Array(1));
  const shape = ints([zerosLength(layer, format)]);
  return node("ConstantOfShape", [shape], { value: attribute.tensor(value) });
}
