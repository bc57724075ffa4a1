/**
 * Small convolutions for tests: every attribute, ragged and tiny K, one axis to three, with the explicit window that
 * each must amount to.
 */
import { attribute, type Model } from "../../src/onnx/index.ts";
import { graph } from "./graph-builder.ts";
import type { ReferenceWindow } from "./reference-conv.ts";
import { floats, normals, type ToyFloat } from "./toy-models.ts";

export interface ToyConv {
  readonly name: string;
  /** Of the input; the batch stays open in the model. */
  readonly shape: readonly number[];
  readonly outputs: number;
  readonly window: ReferenceWindow;
  /** Written in place of the window's pads. */
  readonly autoPad?: "SAME_UPPER" | "SAME_LOWER" | "VALID";
}

const toy = (
  name: string,
  shape: readonly number[],
  outputs: number,
  window: Partial<ReferenceWindow> & Pick<ReferenceWindow, "kernel">,
  autoPad?: ToyConv["autoPad"],
): ToyConv => {
  const ones = window.kernel.map(() => 1);
  const pads = [...window.kernel, ...window.kernel].map(() => 0);
  const whole = { groups: 1, strides: ones, dilations: ones, pads, ...window };
  return { name, shape, outputs, window: whole, ...(autoPad && { autoPad }) };
};

export const toyConvs: readonly ToyConv[] = [
  toy("3 × 3, K = 27", [2, 3, 7, 9], 8, { kernel: [3, 3], pads: [1, 1, 1, 1] }),
  toy("strides, unequal pads and sizes", [2, 4, 11, 8], 6, {
    kernel: [5, 2],
    strides: [3, 2],
    pads: [2, 0, 1, 1],
  }),
  toy("dilations", [1, 5, 12, 11], 4, {
    kernel: [3, 3],
    dilations: [2, 3],
    strides: [1, 2],
    pads: [2, 3, 2, 3],
  }),
  toy("pointwise, K = 40", [2, 40, 5, 4], 7, { kernel: [1, 1] }),
  toy("two groups", [2, 6, 6, 5], 10, { groups: 2, kernel: [3, 2], pads: [1, 0, 1, 1] }),
  toy("depthwise, K = 9", [2, 12, 8, 7], 12, { groups: 12, kernel: [3, 3], pads: [1, 1, 1, 1] }),
  toy("depthwise with a multiplier", [1, 5, 9, 6], 15, {
    groups: 5,
    kernel: [5, 5],
    strides: [2, 2],
    pads: [2, 2, 2, 2],
  }),
  toy("one axis", [3, 6, 19], 5, { kernel: [4], strides: [2], dilations: [2], pads: [3, 1] }),
  toy("one axis, depthwise", [2, 8, 10], 8, { groups: 8, kernel: [3], pads: [2, 0] }),
  toy("three axes", [1, 2, 4, 5, 6], 3, { kernel: [2, 3, 2], pads: [1, 1, 0, 0, 1, 1] }),
  toy(
    "SAME_UPPER",
    [2, 3, 8, 9],
    4,
    { kernel: [3, 4], strides: [2, 2], pads: [0, 1, 1, 2] },
    "SAME_UPPER",
  ),
  toy(
    "SAME_LOWER, stride above the kernel",
    [1, 3, 8, 7],
    4,
    { kernel: [4, 1], strides: [1, 3], pads: [2, 0, 1, 0] },
    "SAME_LOWER",
  ),
  toy("VALID", [1, 3, 8, 9], 4, { kernel: [3, 3], strides: [2, 1] }, "VALID"),
];

/** K: what one output channel reads. */
export const columnsOf = ({ shape, window }: ToyConv): number =>
  (shape[1] / window.groups) * window.kernel.reduce((a, b) => a * b, 1);

/** x → y through one Conv "conv" with weight "w" and bias "b". */
export function toyConvModel(
  conv: ToyConv,
  options: { readonly opset?: number; readonly dtype?: ToyFloat } = {},
): Model {
  const { shape, outputs, window, autoPad } = conv;
  const { opset = 18, dtype = "float32" } = options;
  const { groups, kernel, strides, dilations, pads } = window;
  const builder = graph({ opset })
    .input("x", dtype, ["batch", shape[1], ...kernel.map((_, axis) => `size${axis}`)])
    .output("y", dtype);
  const weight = normals(outputs * columnsOf(conv), 3, 0.5);
  floats(builder, "w", [outputs, shape[1] / groups, ...kernel], weight, dtype);
  floats(builder, "b", [outputs], normals(outputs, 4), dtype);
  const attributes = {
    group: attribute.int(groups),
    kernel_shape: attribute.ints(kernel),
    strides: attribute.ints(strides),
    dilations: attribute.ints(dilations),
    ...(autoPad ? { auto_pad: attribute.str(autoPad) } : { pads: attribute.ints(pads) }),
  };
  return builder.node("Conv", ["x", "w", "b"], ["y"], attributes, "conv").model();
}
