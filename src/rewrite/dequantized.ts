/**
 * Dequantized weights, stored as float32: what the other forms compute with, for models that are measured and never
 * saved. Theirs would be unpacked again in every run: a gate of 134 M weights took 135 s with them, 110 s without.
 */
import type { Layer } from "../core/layer.ts";
import { dequantize } from "../core/quantized.ts";
import { bytesOf, transposed } from "../core/tensor.ts";
import { attribute } from "../onnx/index.ts";
import type { Form } from "./form.ts";
import { convolves, gathers, type Target } from "./target.ts";

const role = "dequantized";

/** Stored as the product reads it, [K, N]: one copy less in memory while a session opens. */
const onlyMultiplies = (layer: Layer) => !gathers(layer) && !convolves(layer);

const dequantized: Form = {
  name: "dequantized",
  stored: (layer) => [
    {
      role,
      dtype: "float32",
      shape: onlyMultiplies(layer) ? [layer.k, layer.n] : [layer.n, layer.k],
      async fill(source) {
        const weight = dequantize(await source.quantized());
        return bytesOf((onlyMultiplies(layer) ? transposed(weight) : weight).data);
      },
    },
  ],
  multiply({ layer, tensor, node }, activation, output) {
    const perm = attribute.ints([1, 0]);
    const weight = onlyMultiplies(layer)
      ? tensor(role)
      : node("Transpose", [tensor(role)], { perm });
    return node("MatMul", [activation, weight], {}, { output });
  },
  gather: ({ tensor, node }, indices, output) =>
    node("Gather", [tensor(role), indices], { axis: attribute.int(0) }, { output }),
  unpack: ({ tensor }) => tensor(role),
};

/** Of float32 weights. A large one would exist several times while a session opens: it stays packed. */
const largestBytes = 2 ** 26;

/**
 * A target that computes what another one does, but for last bits, from dequantized weights. Targets whose kernels
 * round activations too stay as they are.
 */
export function measuredLike(target: Target): Target {
  if (target.accuracyLevel !== undefined) return target;
  return {
    ...target,
    form(layer, format, opset) {
      const form = target.form(layer, format, opset);
      const isKept = format.kind === "float" || 4 * layer.n * layer.k > largestBytes;
      return typeof form === "string" || isKept ? form : dequantized;
    },
  };
}
