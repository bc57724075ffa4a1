/**
 * One standard .onnx for every width: stock kernels where ONNX Runtime has them, functions with a standard body where
 * it has none. Loads in Node, the browser and Python.
 */
import { float16 } from "./float16.ts";
import { matMulNBits } from "./matmul-nbits.ts";
import { nBitsPair } from "./nbits-pair.ts";
import { matMulPacked, whyNotPacked } from "./packed.ts";
import { convolves, gathers, multiplies, type Target } from "./target.ts";

export const portable: Target = {
  summary:
    "every width; loads in any ONNX Runtime (functions with standard bodies where no kernel exists)",
  source: "MatMulNBits, GatherBlockQuantized (com.microsoft); model-local functions (ONNX IR 8)",
  scaleType: "float16",
  // Level 4 with float16 scales behind a Cast returned zeros or NaN with optimisation off.
  accuracyLevel: undefined,
  form(layer, format, opset) {
    if (format.kind === "float") return format.bits === 16 ? float16 : "float32 needs no form";
    if (convolves(layer)) return whyNotPacked(opset) ?? matMulPacked;
    const isStock = format.blockSize > 0 && [2, 4, 8].includes(format.bits);
    // GatherPacked is the fallback of every integer embedding, so its needs decide.
    const reason = isStock && !gathers(layer) ? undefined : whyNotPacked(opset);
    if (reason) return reason;
    if (!multiplies(layer)) {
      return stockGather(format.bits, format.blockSize) ? matMulNBits : matMulPacked;
    }
    if (isStock) return matMulNBits;
    return format.blockSize > 0 && format.bits === 6 ? nBitsPair("computed") : matMulPacked;
  },
};

/** Widths that GatherBlockQuantized may take; the form itself falls back to GatherPacked where it must. */
const stockGather = (bits: number, blockSize: number) =>
  blockSize > 0 && (bits === 4 || bits === 8);
