/**
 * com.microsoft::MatMulNBits for 2, 4 and 8 bits: ONNX Runtime has kernels for exactly these widths (seen in 1.30;
 * 3, 5, 6 and 7 are refused). Embeddings go to GatherBlockQuantized where that is right, else to GatherPacked.
 */
import { blocksPerRow, type WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import { attribute } from "../onnx/index.ts";
import type { Form, FormContext } from "./form.ts";
import { gatherPacked } from "./packed.ts";
import { storedCodes, storedScales, storedZeroPoints } from "./stored.ts";

export const microsoftDomain = "com.microsoft";

export const matMulNBits: Form = {
  name: "MatMulNBits",
  stored: (layer, format) => [
    storedCodes(layer, format),
    storedScales(layer, format),
    ...storedZeroPoints(layer, format),
  ],
  multiply(context, activation, output) {
    const { format, tensor } = context;
    return addMatMulNBits(context, {
      activation,
      bits: format.bits,
      codes: tensor("codes"),
      scales: floatScales(context),
      zeroPoints: format.symmetric ? undefined : tensor("zero_points"),
      output,
    });
  },
  gather(context, indices, output) {
    const { layer, format } = context;
    return blockQuantizedGatherFits(layer, format)
      ? gatherBlockQuantized(context, indices, output)
      : gatherPacked(context, indices, output);
  },
};

/** The scales as float32: a Cast when they are stored as float16. */
export function floatScales({ format, tensor, node }: FormContext): string {
  const scales = tensor("scales");
  return format.scaleType === "float16" ? node("Cast", [scales], { to: attribute.int(1) }) : scales;
}

interface NBitsNode {
  readonly activation: string;
  readonly bits: number;
  readonly codes: string;
  readonly scales: string;
  readonly zeroPoints: string | undefined;
  readonly output?: string | undefined;
}

/** One MatMulNBits node: Y = A · (scale · (code − zero point))ᵀ. */
export function addMatMulNBits(context: FormContext, spec: NBitsNode): string {
  const { editor, layer, format, accuracyLevel, node } = context;
  editor.addOpset(microsoftDomain, 1);
  return node(
    "MatMulNBits",
    [spec.activation, spec.codes, spec.scales, ...(spec.zeroPoints ? [spec.zeroPoints] : [])],
    {
      K: attribute.int(layer.k),
      N: attribute.int(layer.n),
      bits: attribute.int(spec.bits),
      block_size: attribute.int(format.blockSize),
      ...(accuracyLevel === undefined ? {} : { accuracy_level: attribute.int(accuracyLevel) }),
    },
    { domain: microsoftDomain, output: spec.output },
  );
}

/**
 * 4 or 8 bits and whole blocks; asymmetric only with an even number of blocks at 4 bits, because ONNX Runtime 1.24.3
 * reads odd rows of packed zero points wrongly without saying so.
 */
function blockQuantizedGatherFits(layer: Layer, format: WeightFormat): boolean {
  const blocks = blocksPerRow(format, layer.k);
  return (
    (format.bits === 4 || format.bits === 8) &&
    layer.k % format.blockSize === 0 &&
    (format.symmetric || format.bits === 8 || blocks % 2 === 0)
  );
}

function gatherBlockQuantized(context: FormContext, indices: string, output?: string): string {
  const { editor, layer, format, tensor, node, ints } = context;
  editor.addOpset(microsoftDomain, 1);
  // The same buffer serves MatMulNBits [N, B, bytes] and this node [N, B · bytes].
  const table = node("Reshape", [tensor("codes"), ints([layer.n, -1])]);
  const zeroPoints = format.symmetric ? [] : [tensor("zero_points")];
  return node(
    "GatherBlockQuantized",
    [table, indices, floatScales(context), ...zeroPoints],
    {
      bits: attribute.int(format.bits),
      block_size: attribute.int(format.blockSize),
      gather_axis: attribute.int(0),
      quantize_axis: attribute.int(1),
    },
    { domain: microsoftDomain, output },
  );
}
