/**
 * Only widths that ONNX Runtime has kernels for, written the way that makes those kernels fast: accuracy_level 4
 * (activations rounded to 8 bits inside the kernel) with float32 scales.
 */
import { float16 } from "./float16.ts";
import { matMulNBits } from "./matmul-nbits.ts";
import { nBitsPair } from "./nbits-pair.ts";
import { whyNotPacked } from "./packed.ts";
import { gathers, type Target } from "./target.ts";

export const ort: Target = {
  summary: "only widths with stock kernels (2, 4, 6, 8, 16), tuned for speed in ONNX Runtime",
  source: "MatMulNBits, GatherBlockQuantized (com.microsoft), accuracy_level 4",
  scaleType: "float32",
  accuracyLevel: 4,
  form(layer, format, opset) {
    if (format.kind === "float") return format.bits === 16 ? float16 : "float32 needs no form";
    if (format.blockSize === 0) return "MatMulNBits has no whole-row blocks";
    if (gathers(layer)) {
      const reason = whyNotPacked("gather", layer, format, opset);
      if (reason) return reason;
    }
    if (format.bits === 6) return nBitsPair("stored");
    if ([2, 4, 8].includes(format.bits)) return matMulNBits;
    return `ONNX Runtime has no ${format.bits}-bit kernel`;
  },
};
