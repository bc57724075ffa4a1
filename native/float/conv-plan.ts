/**
 * Conv and ConvTranspose: which kernel, its fields, and the layout of its weights, from shapes and attributes.
 * Invariant: every kernel takes the pointers x, weight, bias, out, so the caller need not know which it is.
 */
import type { FieldValues, Kernel } from "../kernel.ts";
import { type ConvFields, conv, convTransposed } from "./conv.ts";
import { depthwiseConv } from "./conv-depthwise.ts";
import { type Axis, type WindowAttributes, windowAxes, windowValues } from "./conv-window.ts";
import { panelColumns, tileRows } from "./gemm-tile.ts";

/** Output channels per item. */
const rowsPerItem = 64;
/** Pixels per item, fewer when the patches would leave the second-level cache. */
const pixelsPerItem = 64;
const patchBytes = 512 * 1024;
const kPerBlock = 1024;

export interface ConvAttributes extends Omit<WindowAttributes, "kernelShape" | "ceilMode"> {
  readonly group?: number;
  /** The result is clamped to them: [0, ∞] is a ReLU, [0, 6] a Clip. */
  readonly limits?: readonly [number, number];
}

export interface ConvTransposeAttributes extends ConvAttributes {
  readonly outputPadding?: readonly number[];
  readonly outputShape?: readonly number[];
}

export interface ConvPlan {
  readonly kernel: Kernel;
  readonly items: number;
  /** Every field but x, weight, bias, out. */
  readonly values: Readonly<Record<string, number>>;
  /** Of the output. */
  readonly shape: readonly number[];
  /** float32 elements of the packed weights. */
  readonly weightLength: number;
  /** Brings the operator's weights into the kernel's layout. */
  packWeight(into: Float32Array, weight: Float32Array): void;
}

const noLimits: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

interface Layers {
  readonly groups: number;
  /** Per group. */
  readonly channels: number;
  readonly outChannels: number;
}

/** A plane of 1 × 1 windows without padding and with stride 1 is one long row, whatever its shape. */
function flatten([y, x]: readonly [Axis, Axis]): readonly [Axis, Axis] {
  const isPointwise = [y, x].every(
    ({ kernel, stride, padBegin, padEnd }) =>
      kernel === 1 && stride === 1 && padBegin === 0 && padEnd === 0,
  );
  if (!isPointwise) return [y, x];
  const size = y.size * x.size;
  return [
    { ...y, size: 1, out: 1 },
    { ...x, size, out: size },
  ];
}

/** [group][block of rows][block of k][tile of rows][k][row]: the order in which the tiles read the rows of A. */
function packRowsOfWeight(
  into: Float32Array,
  weight: Float32Array,
  rows: number,
  { groups, k, rowBlock, kBlock }: Readonly<Record<"groups" | "k" | "rowBlock" | "kBlock", number>>,
): void {
  let to = 0;
  const each = (
    from: number,
    end: number,
    step: number,
    body: (at: number, stop: number) => void,
  ) => {
    for (let at = from; at < end; at += step) body(at, Math.min(end, at + step));
  };
  for (let group = 0; group < groups; group += 1) {
    const base = group * rows;
    each(base, base + rows, rowBlock, (blockBegin, blockEnd) =>
      each(0, k, kBlock, (kBegin, kEnd) =>
        each(blockBegin, blockEnd, tileRows, (rowBegin, rowEnd) => {
          for (let inner = kBegin; inner < kEnd; inner += 1) {
            for (let row = rowBegin; row < rowEnd; row += 1) {
              into[to] = weight[row * k + inner];
              to += 1;
            }
          }
        }),
      ),
    );
  }
}

function planProduct(
  batch: number,
  { groups, channels, outChannels }: Layers,
  axes: readonly [Axis, Axis],
  up: readonly [number, number],
  limits: readonly [number, number],
) {
  const [y, x] = axes;
  const k = channels * y.kernel * x.kernel;
  const panels = Math.floor(patchBytes / (4 * k * panelColumns));
  const pixelBlock = Math.min(pixelsPerItem, Math.max(1, panels) * panelColumns);
  const rowBlock = Math.min(outChannels, rowsPerItem);
  const values: Omit<FieldValues<ConvFields>, "x" | "weight" | "bias" | "out"> = {
    ...windowValues(axes),
    channels,
    upY: up[0],
    upX: up[1],
    groups,
    outChannels,
    k,
    rowBlock,
    pixelBlock,
    kBlock: Math.min(k, kPerBlock),
    low: limits[0],
    high: limits[1],
  };
  const strips = batch * groups * Math.ceil((y.out * x.out) / pixelBlock);
  return { values, items: strips * Math.ceil(outChannels / rowBlock) };
}

/**
 * The plan of Conv.
 *
 * @param shape - [N, C, W] or [N, C, H, W].
 * @param weightShape - [O, C / group, (kernelHeight,) kernelWidth].
 * Throws: RangeError when shapes and groups do not fit, and as `windowAxes`.
 */
export function planConv(
  shape: readonly number[],
  weightShape: readonly number[],
  attributes: ConvAttributes = {},
): ConvPlan {
  const [batch, allChannels, ...sizes] = shape;
  const [allOut, channels, ...kernelShape] = weightShape;
  const { group: groups = 1, limits = noLimits } = attributes;
  if (channels * groups !== allChannels || allOut % groups) {
    throw new RangeError(`weights [${weightShape}] in ${groups} groups over [${shape}]`);
  }
  const axes = windowAxes(sizes, { ...attributes, kernelShape });
  const [y, x] = axes;
  const outChannels = allOut / groups;
  const outShape = [batch, allOut, ...(sizes.length === 2 ? [y.out] : []), x.out];
  const weightLength = allOut * channels * y.kernel * x.kernel;
  if (channels === 1 && groups > 1) {
    return {
      kernel: depthwiseConv,
      items: batch * allOut * y.out,
      values: {
        ...windowValues(axes),
        channels: allOut,
        multiplier: outChannels,
        low: limits[0],
        high: limits[1],
      },
      shape: outShape,
      weightLength,
      packWeight: (into, weight) => into.set(weight),
    };
  }
  const layers = { groups, channels, outChannels };
  const { values, items } = planProduct(batch, layers, flatten(axes), [1, 1], limits);
  return {
    kernel: conv,
    items,
    values,
    shape: outShape,
    weightLength,
    packWeight: (into, weight) => packRowsOfWeight(into, weight, outChannels, values),
  };
}

/**
 * The plan of ConvTranspose: a convolution with the mirrored kernel over the input with stride − 1 zeros between its
 * elements.
 *
 *   out = stride · (size − 1) + outputPadding + extent − padBegin − padEnd
 *
 * With SAME_… the padding is what `out` has beyond stride · size, never less than 0: where the window is shorter than
 * the stride, ONNX's shape inference and ONNX Runtime leave `out` below stride · size, and so does this.
 *
 * @param weightShape - [C, O / group, (kernelHeight,) kernelWidth].
 * Cost: the zeros are multiplied, too: stride² times the work of the definition.
 * Throws: RangeError when shapes and groups do not fit.
 */
export function planConvTranspose(
  shape: readonly number[],
  weightShape: readonly number[],
  attributes: ConvTransposeAttributes = {},
): ConvPlan {
  const [batch, allChannels, ...sizes] = shape;
  const [weightChannels, outChannels, ...kernelShape] = weightShape;
  const { group: groups = 1, limits = noLimits, autoPad = "NOTSET" } = attributes;
  const fits = weightChannels === allChannels && allChannels % groups === 0;
  if (!fits || sizes.length !== kernelShape.length || sizes.length < 1 || sizes.length > 2) {
    throw new RangeError(`weights [${weightShape}] in ${groups} groups over [${shape}]`);
  }
  const ups = sizes.map((_, at) => attributes.strides?.[at] ?? 1);
  const axes = sizes.map((size, at): Axis => {
    const [kernel, dilation] = [kernelShape[at], attributes.dilations?.[at] ?? 1];
    const reach = (kernel - 1) * dilation;
    const whole = ups[at] * (size - 1) + reach + 1 + (attributes.outputPadding?.[at] ?? 0);
    const wanted =
      attributes.outputShape?.at(at - sizes.length) ??
      (autoPad.startsWith("SAME") ? Math.min(whole, size * ups[at]) : undefined);
    let cutBegin = autoPad === "NOTSET" ? (attributes.pads?.[at] ?? 0) : 0;
    const cutEnd = autoPad === "NOTSET" ? (attributes.pads?.[at + sizes.length] ?? 0) : 0;
    let out = whole - cutBegin - cutEnd;
    if (wanted !== undefined) {
      out = wanted;
      const cut = Math.max(0, whole - wanted);
      cutBegin = autoPad === "SAME_UPPER" ? Math.floor(cut / 2) : Math.ceil(cut / 2);
    }
    return { size, kernel, stride: 1, dilation, padBegin: reach - cutBegin, padEnd: 0, out };
  });
  const one: Axis = { size: 1, kernel: 1, stride: 1, dilation: 1, padBegin: 0, padEnd: 0, out: 1 };
  const [y, x] = axes.length === 2 ? axes : [one, axes[0]];
  const [upY, upX] = ups.length === 2 ? ups : [1, ups[0]];
  const channels = allChannels / groups;
  const layers = { groups, channels, outChannels };
  const { values, items } = planProduct(batch, layers, [y, x], [upY, upX], limits);
  const area = y.kernel * x.kernel;
  const mirror = (weight: Float32Array) =>
    weight.map((_, at) => {
      const [row, inner] = [Math.floor(at / values.k), at % values.k];
      const [channel, tap] = [Math.floor(inner / area), inner % area];
      const group = Math.floor(row / outChannels);
      const source = (group * channels + channel) * outChannels + (row % outChannels);
      return weight[source * area + (area - 1 - tap)];
    });
  return {
    kernel: convTransposed,
    items,
    values,
    shape: [batch, outChannels * groups, ...(sizes.length === 2 ? [y.out] : []), x.out],
    weightLength: allChannels * outChannels * area,
    packWeight: (into, weight) => packRowsOfWeight(into, mirror(weight), outChannels, values),
  };
}
