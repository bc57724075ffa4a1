/**
 * Only widths that ONNX Runtime has kernels for, written the way that makes those kernels fast: accuracy_level 4
 * (activations rounded to 8 bits inside the kernel) with float32 scales. Embeddings that GatherBlockQuantized cannot
 * hold go through GatherPacked, which unpacks the gathered rows only; weights of convolutions, for which there are no
 * low-bit kernels of any width, are unpacked when the model is loaded.
 */
import { float16 } from "./float16.ts";
import { matMulNBits } from "./matmul-nbits.ts";
import { nBitsPair } from "./nbits-pair.ts";
import { matMulPacked, whyNotPacked } from "./packed.ts";
import { convolves, gathers, multiplies, type Target } from "./target.ts";

export const ort: Target = {
  summary: "only widths with stock kernels (2, 4, 6, 8, 16), tuned for speed in ONNX Runtime",
  source: "MatMulNBits, GatherBlockQuantized (com.microsoft), accuracy_level 4",
  scaleType: "float32",
  accuracyLevel: 4,
  form(layer, format, opset) {
    if (format.kind === "float") return format.bits === 16 ? float16 : "float32 needs no form";
    if (convolves(layer)) return whyNotPacked(opset) ?? matMulPacked;
    if (format.blockSize === 0) return "MatMulNBits has no whole-row blocks";
    if (![2, 4, 6, 8].includes(format.bits)) return `ONNX Runtime has no ${format.bits}-bit kernel`;
    // Behind a Cast that is not folded away they give zeros or NaN at level 4.
    if (format.scaleType !== "float32") return "accuracy_level 4 needs float32 scales";
    const reason = gathers(layer) ? whyNotPacked(opset) : undefined;
    if (reason) return reason;
    if (format.bits !== 6) return matMulNBits;
    return multiplies(layer) ? nBitsPair("stored") : matMulPacked;
  },
};
