/**
 * The rows that a convolution multiplies with its kernels, as operators: which positions its window takes and what it
 * reads there. Works from the sizes of the run, so that axes may be dynamic.
 * Invariant: which positions are measured depends on these sizes only, so that all statistics of a layer, and of both
 * streams of a sequential run, see the same rows.
 */
import type { ConvWindow } from "../core/layer.ts";
import { elementCount } from "../core/tensor.ts";
import { attribute, type GraphTap, memoryTensor } from "../onnx/index.ts";

/**
 * Elements that the rows of one batch may have: 64 MB in float32. More than that and only every s-th position of each
 * axis is measured, s being the least that suffices.
 */
export const maxUnfoldedElements = 2 ** 24;

interface Positions {
  /** Indices of the measured positions of each axis, int64 [n]. */
  readonly axes: readonly string[];
  /** T of this batch: batch size times all n, int64 [1]. */
  readonly count: string;
  /** Index in each padded axis at which the window of position 0 begins, int64 [1]. */
  readonly starts: readonly string[];
}

/**
 * X [T, G · K] of a convolution, float32: row t is what the window reads at position t, for each of its taps all
 * channels of the input. `inWeightOrder` brings what is made of the columns to the order of W, channel before tap.
 *
 * @param columns - G · K.
 *
 * Cost: T · G · K elements, twice while they are put in order; about 20 operators. In this order whole channels are
 *   copied, 1.8 ns per element where the order of W takes 4 to 6 (64 × 80 × 80 by 3 × 3, one thread). A convolution with
 *   one-hot kernels is as fast in one operator, but its stride, and so its memory, cannot follow the sizes of the run.
 */
export function unfoldedRows(
  tap: GraphTap,
  activation: string,
  window: ConvWindow,
  columns: number,
): string {
  const key = `unfolded ${activation} ${JSON.stringify(window)}`;
  return tap.once(key, () => {
    const { kernel, strides, dilations } = window;
    const { axes, starts } = positionsOf(tap, activation, window, columns);
    const channelsLast = [0, ...kernel.map((_, a) => 2 + a), 1];
    let value = tap.op("Transpose", [padded(tap, tap.toFloat(activation), window)], {
      perm: attribute.ints(channelsLast),
    });
    kernel.forEach((size, a) => {
      const first = tap.op("Mul", [
        tap.op("Reshape", [axes[a], tap.int64([-1, 1])]),
        tap.int64([strides[a]]),
      ]);
      const taps = tap.int64(
        Array.from({ length: size }, (_, i) => i * dilations[a]),
        [1, size],
      );
      const indices = tap.op("Add", [first, tap.op("Add", [taps, starts[a]])]);
      // [batch, n, k, …, channels]: each axis becomes two.
      value = tap.op("Gather", [value, indices], { axis: attribute.int(1 + 2 * a) });
    });
    const positions = kernel.map((_, a) => 1 + 2 * a);
    const order = [0, ...positions, ...positions.map((axis) => axis + 1), 1 + 2 * kernel.length];
    const turned = tap.op("Transpose", [value], { perm: attribute.ints(order) });
    return tap.op("Reshape", [turned, tap.int64([-1, columns])]);
  });
}

/**
 * Values of the columns of `unfoldedRows` in the order of W.
 *
 * @param value - [G · K], or [K, K] of a single group.
 */
export function inWeightOrder(
  tap: GraphTap,
  value: string,
  { kernel }: ConvWindow,
  columns: number,
  rank: 1 | 2,
): string {
  const taps = elementCount(kernel);
  if (taps === 1) return value;
  const [split, whole, order] =
    rank === 1
      ? [[taps, columns / taps], [columns], [1, 0]]
      : [
          [taps, columns / taps, taps, columns / taps],
          [columns, columns],
          [1, 0, 3, 2],
        ];
  const turned = tap.op("Transpose", [tap.op("Reshape", [value, tap.int64(split)])], {
    perm: attribute.ints(order),
  });
  return tap.op("Reshape", [turned, tap.int64(whole)]);
}

/** T of one batch, int64 [1]: the rows that `unfoldedRows` gives. */
export const unfoldedCount = (
  tap: GraphTap,
  activation: string,
  window: ConvWindow,
  columns: number,
): string => positionsOf(tap, activation, window, columns).count;

/** The outputs [batch, N, …] of a convolution at the positions that are measured. */
export function measuredOutputs(
  tap: GraphTap,
  output: string,
  activation: string,
  window: ConvWindow,
  columns: number,
): string {
  return positionsOf(tap, activation, window, columns).axes.reduce(
    (value, indices, a) => tap.op("Gather", [value, indices], { axis: attribute.int(2 + a) }),
    output,
  );
}

function positionsOf(
  tap: GraphTap,
  activation: string,
  window: ConvWindow,
  columns: number,
): Positions {
  return tap.once(`positions ${activation} ${JSON.stringify(window)}`, () => {
    const { kernel, strides, padding } = window;
    const isSame = typeof padding === "string";
    const one = tap.int64([1]);
    const shape = tap.op("Shape", [activation]);
    const sizeOf = (axis: number) => tap.op("Gather", [shape, tap.int64([axis])]);
    const batch = sizeOf(0);
    const sizes = kernel.map((_, a) => sizeOf(2 + a));
    const counts = sizes.map((size, a) => {
      const stride = tap.int64([strides[a]]);
      const spare = isSame
        ? strides[a] - 1
        : padding.before[a] + padding.after[a] - reachOf(window, a);
      const steps = tap.op("Div", [tap.op("Add", [size, tap.int64([spare])]), stride]);
      return isSame ? steps : tap.op("Add", [steps, one]);
    });
    const step = stepOf(tap, [batch, ...counts], columns, kernel.length);
    const measured = counts.map((count) => {
      const rounding = tap.op("Sub", [step, one]);
      return tap.op("Div", [tap.op("Add", [count, rounding]), step]);
    });
    return {
      axes: measured.map((count) => tap.op("Mul", [range(tap, count), step])),
      count: measured.reduce((all, count) => tap.op("Mul", [all, count]), batch),
      starts: sizes.map((size, a) => startOf(tap, window, a, size, counts[a])),
    };
  });
}

/** s = ⌈max(1, elements / maxUnfoldedElements) ^ (1 / axes)⌉, int64 [1]. */
function stepOf(tap: GraphTap, counts: readonly string[], columns: number, axes: number): string {
  const share = counts.reduce(
    (all, count) => tap.op("Mul", [all, tap.op("Cast", [count], { to: attribute.int(1) })]),
    tap.float(columns / maxUnfoldedElements),
  );
  const excess = tap.op("Max", [share, tap.float(1)]);
  const step = tap.op("Ceil", [tap.op("Pow", [excess, tap.float(1 / axes)])]);
  return tap.op("Cast", [step], { to: attribute.int(7) });
}

/** 0, 1, … count − 1; without Range, which came with opset 11. */
function range(tap: GraphTap, count: string): string {
  const value = attribute.tensor(memoryTensor("value", "int64", [1], BigInt64Array.of(1n)));
  const ones = tap.op("ConstantOfShape", [count], { value });
  return tap.op("Reshape", [tap.op("NonZero", [ones]), tap.int64([-1])]);
}

/** Elements from the first to the last that the window reads on an axis. */
const reachOf = ({ kernel, dilations }: ConvWindow, axis: number) =>
  (kernel[axis] - 1) * dilations[axis] + 1;

/** Padded as the window needs it: where that follows from the sizes, by the most that it can be. */
function padded(tap: GraphTap, value: string, window: ConvWindow): string {
  const { padding } = window;
  const widest = window.kernel.map((_, a) => reachOf(window, a) - 1);
  const [before, after] =
    typeof padding === "string" ? [widest, widest] : [padding.before, padding.after];
  return [...before, ...after].every((width) => width === 0)
    ? value
    : tap.pad(value, [0, 0, ...before], [0, 0, ...after]);
}

function startOf(
  tap: GraphTap,
  window: ConvWindow,
  axis: number,
  size: string,
  count: string,
): string {
  const { padding, strides } = window;
  if (typeof padding !== "string") return tap.int64([0]);
  // Of max(0, (count − 1) · stride + reach − size) zeros, the first half.
  const reach = reachOf(window, axis);
  const stride = tap.int64([strides[axis]]);
  const end = tap.op("Add", [tap.op("Mul", [count, stride]), tap.int64([reach - strides[axis]])]);
  const missing = tap.op("Cast", [tap.op("Sub", [end, size])], { to: attribute.int(1) });
  const zeros = tap.op("Cast", [tap.op("Relu", [missing])], { to: attribute.int(7) });
  const odd = tap.int64([padding === "same-lower" ? 1 : 0]);
  const before = tap.op("Div", [tap.op("Add", [zeros, odd]), tap.int64([2])]);
  return tap.op("Sub", [tap.int64([reach - 1]), before]);
}
