/**
 * Depthwise convolution: one input channel per output channel. A product of matrices would have one row; this
 * folds the window over the image instead.
 */
import { f32, f32x4, i32, v128 } from "../assembler/index.ts";
import { defineSlide } from "./conv-slide.ts";
import { elementsToBytes } from "./gemm-pack.ts";

/**
 * out[n, o, y, x] = clamp(bias[o] + Σ_{i, j} x[n, o / multiplier, …] · weight[o, i, j], low, high)
 *
 * Fields: pointers x, weight [channels · multiplier, kernelHeight, kernelWidth], bias (0: none), out; the rest from
 * `planConv`. Numerics: float32, taps in order.
 */
export const depthwiseConv = defineSlide({
  name: "f32-depthwise-conv-simd128",
  fields: {
    weight: "i32",
    bias: "i32",
    /** Output channels of one batch. */
    channels: "i32",
    multiplier: "i32",
    low: "f32",
    high: "f32",
  },
  // Batches hold channels / multiplier planes, so the quotient holds over batches, too.
  inputChannel: ({ fields }, channel) => i32.div_u(channel, fields.multiplier),
  build(code, { channel, tap }) {
    const { weight, bias, channels, low, high, kernelHeight, kernelWidth } = code.fields;
    const area = code.local("i32", i32.mul(kernelHeight, kernelWidth));
    const start = code.local("v128");
    const output = code.local("i32");
    const lowest = code.local("v128", f32x4.splat(low));
    const highest = code.local("v128", f32x4.splat(high));
    return {
      start() {
        output.set(i32.rem_u(channel, channels));
        start.set(v128.zero());
        code.if(bias, () => {
          start.set(f32x4.splat(f32.load(i32.add(bias, elementsToBytes(output)))));
        });
        output.set(i32.mul(output, area));
        return start;
      },
      step(sum, value) {
        const factor = i32.add(weight, elementsToBytes(i32.add(output, tap)));
        return f32x4.add(sum, f32x4.mul(value, v128.load32_splat(factor)));
      },
      finish: (sum) => f32x4.min(f32x4.max(sum, lowest), highest),
    };
  },
});
