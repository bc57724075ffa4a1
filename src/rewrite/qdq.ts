/**
 * Only standard operators: DequantizeLinear in front of the float product, for runtimes and compilers that fold or
 * fuse it. The model's opset is never raised, so what it can hold depends on what it imports.
 */
import { formatGrid } from "../core/format.ts";
import { dequantizeLinear, whyNotDequantizeLinear } from "./dequantize-linear.ts";
import { float16 } from "./float16.ts";
import type { Target } from "./target.ts";

export const qdq: Target = {
  summary: "standard DequantizeLinear only: int8 (opset 13), int4 and blocks (21), int2 (25)",
  source: "ONNX DequantizeLinear-13/21/25",
  scaleType: "float16",
  // Before opset 21 whole rows are all that DequantizeLinear knows.
  extraFormats: formatGrid([8], [0]),
  accuracyLevel: undefined,
  form(_layer, format, opset) {
    if (format.kind === "float") return format.bits === 16 ? float16 : "float32 needs no form";
    return whyNotDequantizeLinear(format, opset) ?? dequantizeLinear;
  },
};
