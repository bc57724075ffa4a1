/**
 * float16 weights: a float16 tensor in the orientation the library uses, widened by a Cast.
 */
import { bytesOf, toFloat16Bits } from "../core/tensor.ts";
import { attribute } from "../onnx/index.ts";
import type { Form } from "./form.ts";

export const float16: Form = {
  name: "float16",
  stored: ({ n, k }) => [
    {
      role: "float16",
      dtype: "float16",
      shape: [n, k],
      fill: async (weight) => {
        const { data } = await weight.float();
        return bytesOf(Uint16Array.from(data, toFloat16Bits));
      },
    },
  ],
  multiply({ tensor, node }, activation, output) {
    const weight = node("Cast", [tensor("float16")], { to: attribute.int(1) });
    const transposed = node("Transpose", [weight], { perm: attribute.ints([1, 0]) });
    return node("MatMul", [activation, transposed], {}, { output });
  },
  gather({ tensor, node }, indices, output) {
    const rows = node("Gather", [tensor("float16"), indices], { axis: attribute.int(0) });
    return node("Cast", [rows], { to: attribute.int(1) }, { output });
  },
  unpack: ({ tensor, node }) => node("Cast", [tensor("float16")], { to: attribute.int(1) }),
};
