/**
 * float16 weights: a float16 tensor in the orientation the library uses, widened by a Cast.
 */
import { bytesOf, type Matrix, toFloat16Bits } from "../core/tensor.ts";
import { attribute } from "../onnx/index.ts";
import type { Form } from "./form.ts";

/** The stored bytes of a float16 weight: [N, K], rounded to nearest even. */
export function float16Bytes(weight: Matrix): Uint8Array {
  return bytesOf(Uint16Array.from(weight.data, toFloat16Bits));
}

export const float16: Form = {
  name: "float16",
  // Filled from the float weight, not from codes; see `emitLayer`.
  stored: (layer) => [
    { role: "float16", dtype: "float16", shape: [layer.n, layer.k], fill: () => new Uint8Array() },
  ],
  multiply({ names, node }, activation, output) {
    const weight = node("Cast", [names.get("float16") ?? ""], { to: attribute.int(1) });
    const transposed = node("Transpose", [weight], { perm: attribute.ints([1, 0]) });
    return node("MatMul", [activation, transposed], {}, { output });
  },
  gather({ names, node }, indices, output) {
    const rows = node("Gather", [names.get("float16") ?? "", indices], { axis: attribute.int(0) });
    return node("Cast", [rows], { to: attribute.int(1) }, { output });
  },
};
