/**
 * The geometry of a window that slides over an image: what Conv, ConvTranspose and the pools have in common. Pure
 * arithmetic; one spatial dimension is an image of height 1.
 */

/** The attributes as the operators name them; lists are per spatial axis, one or two. */
export interface WindowAttributes {
  readonly kernelShape: readonly number[];
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  /** Begin of every axis, then end of every axis. */
  readonly pads?: readonly number[];
  readonly autoPad?: "NOTSET" | "SAME_UPPER" | "SAME_LOWER" | "VALID";
  readonly ceilMode?: boolean;
}

/** One axis of a window. */
export interface Axis {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padBegin: number;
  readonly padEnd: number;
  readonly out: number;
}

/** Elements from the first to the last tap of a kernel, both included. */
const extent = (kernel: number, dilation: number) => (kernel - 1) * dilation + 1;

/**
 * The axes of a window over spatial sizes.
 *
 *   out = ⌊(size + padBegin + padEnd − extent) / stride⌋ + 1, with ceilMode ⌈…⌉; no window starts in
 *   the end padding
 *
 * Throws: RangeError for other than one or two axes, or for a window that does not fit.
 */
export function windowAxes(
  sizes: readonly number[],
  attributes: WindowAttributes,
): readonly [Axis, Axis] {
  const { kernelShape, strides, dilations, pads, autoPad = "NOTSET", ceilMode } = attributes;
  if (sizes.length < 1 || sizes.length > 2 || kernelShape.length !== sizes.length) {
    throw new RangeError(`window [${kernelShape}] over [${sizes}]: one or two axes are expected`);
  }
  const axes = sizes.map((size, at): Axis => {
    const kernel = kernelShape[at];
    const stride = strides?.[at] ?? 1;
    const dilation = dilations?.[at] ?? 1;
    const reach = extent(kernel, dilation);
    let padBegin = autoPad === "NOTSET" ? (pads?.[at] ?? 0) : 0;
    let padEnd = autoPad === "NOTSET" ? (pads?.[at + sizes.length] ?? 0) : 0;
    if (autoPad.startsWith("SAME")) {
      const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + reach - size);
      padBegin = autoPad === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
      padEnd = total - padBegin;
    }
    const room = size + padBegin + padEnd - reach;
    let out = (ceilMode ? Math.ceil(room / stride) : Math.floor(room / stride)) + 1;
    if (ceilMode && (out - 1) * stride >= size + padBegin) out -= 1;
    if (out < 1) throw new RangeError(`window of ${reach} does not fit into ${size}`);
    return { size, kernel, stride, dilation, padBegin, padEnd, out };
  });
  const flat: Axis = {
    size: 1,
    kernel: 1,
    stride: 1,
    dilation: 1,
    padBegin: 0,
    padEnd: 0,
    out: 1,
  };
  return axes.length === 2 ? [axes[0], axes[1]] : [flat, axes[0]];
}

/** The fields that every kernel over windows has; sizes in elements. */
export const windowFields = {
  height: "i32",
  width: "i32",
  outHeight: "i32",
  outWidth: "i32",
  kernelHeight: "i32",
  kernelWidth: "i32",
  strideY: "i32",
  strideX: "i32",
  dilationY: "i32",
  dilationX: "i32",
  padTop: "i32",
  padLeft: "i32",
} as const;

export const windowValues = ([y, x]: readonly [Axis, Axis]): Readonly<
  Record<keyof typeof windowFields, number>
> => ({
  height: y.size,
  width: x.size,
  outHeight: y.out,
  outWidth: x.out,
  kernelHeight: y.kernel,
  kernelWidth: x.kernel,
  strideY: y.stride,
  strideX: x.stride,
  dilationY: y.dilation,
  dilationX: x.dilation,
  padTop: y.padBegin,
  padLeft: x.padBegin,
});
