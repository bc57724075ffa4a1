/**
 * MaxPool and AveragePool over NC(H)W. GlobalAveragePool is a mean over rows: the reductions do it faster.
 */
import { f32, f32x4 } from "../assembler/index.ts";
import { defineSlide } from "./conv-slide.ts";
import { type WindowAttributes, windowAxes, windowValues } from "./conv-window.ts";

/** out = max over the taps inside the image; NaN passes. */
export const maxPool = defineSlide({
  name: "f32-max-pool-simd128",
  fields: {},
  build(code) {
    const lowest = code.local("v128", f32x4.splat(f32.const(Number.NEGATIVE_INFINITY)));
    return {
      start: () => lowest,
      step: (sum, value) => f32x4.max(sum, value),
      finish: (sum) => sum,
    };
  },
});

/**
 * out = Σ taps inside the image / number of taps within countTop ≤ y < countBottom, countLeft ≤ x < countRight: the
 * image, or the image with its padding. Numerics: float32, taps in order, one division.
 */
export const averagePool = defineSlide({
  name: "f32-average-pool-simd128",
  fields: { countTop: "i32", countBottom: "i32", countLeft: "i32", countRight: "i32" },
  counts: ({ fields }) => ({
    top: fields.countTop,
    bottom: fields.countBottom,
    left: fields.countLeft,
    right: fields.countRight,
  }),
  build(code, { counted }) {
    const zero = code.local("v128");
    return {
      start: () => zero,
      step: (sum, value) => f32x4.add(sum, value),
      finish: (sum) => f32x4.div(sum, f32x4.splat(f32.convert_i32_s(counted))),
    };
  },
});

export interface PoolAttributes extends WindowAttributes {
  /** AveragePool: padding counts as zeros. */
  readonly countIncludePad?: boolean;
}

/**
 * The kernel, items, fields (but x and out) and output shape of a pool.
 *
 * @param shape - [N, C, W] or [N, C, H, W].
 * Throws: RangeError as `windowAxes`.
 */
export function planPool(
  kind: "max" | "average",
  shape: readonly number[],
  attributes: PoolAttributes,
) {
  const [batch, channels, ...sizes] = shape;
  const axes = windowAxes(sizes, attributes);
  const [y, x] = axes;
  const padding = attributes.countIncludePad ? 1 : 0;
  const counts = {
    countTop: -padding * y.padBegin,
    countBottom: y.size + padding * y.padEnd,
    countLeft: -padding * x.padBegin,
    countRight: x.size + padding * x.padEnd,
  };
  const plan = {
    items: batch * channels * y.out,
    shape: [batch, channels, ...(sizes.length === 2 ? [y.out] : []), x.out],
  };
  const values = windowValues(axes);
  return kind === "max"
    ? { ...plan, kernel: maxPool, values }
    : { ...plan, kernel: averagePool, values: { ...values, ...counts } };
}
