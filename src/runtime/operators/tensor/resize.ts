/**
 * Resize: nearest and linear interpolation over any axes, in JavaScript; the rest goes to the fallback. Linear works
 * axis by axis, so that the cost is two products per element and axis.
 */
import type { InferInput, Operator, OperatorNode } from "../../session/operator.ts";
import type { NumberArray } from "../../session/storage.ts";
import {
  axisOf,
  intAttribute,
  intsAttribute,
  intsOf,
  required,
  textAttribute,
} from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";

const float32 = Math.fround;

const modeOf = (node: OperatorNode): string => textAttribute(node, "mode", "nearest");
const transformOf = (node: OperatorNode): string =>
  textAttribute(
    node,
    "coordinate_transformation_mode",
    node.opset < 11 ? "asymmetric" : "half_pixel",
  );
const nearestOf = (node: OperatorNode): string =>
  textAttribute(node, "nearest_mode", node.opset < 11 ? "floor" : "round_prefer_floor");

/** Size and scale of every axis of the output. */
function targetOf(node: OperatorNode, inputs: readonly (InferInput | undefined)[]) {
  const { shape } = required(inputs, 0);
  const isOld = node.opset < 11;
  const given = (index: number) => {
    const values = intsOf(inputs, index);
    return values && values.length > 0 ? values : undefined;
  };
  const scales = given(isOld ? 1 : 2);
  const sizes = isOld ? undefined : given(3);
  const axes =
    intsAttribute(node, "axes")?.map((axis) => axisOf(axis, shape.length)) ??
    shape.map((_, axis) => axis);
  const result = shape.map((size) => ({ size, scale: 1 }));
  axes.forEach((axis, at) => {
    if (sizes) result[axis] = { size: sizes[at], scale: float32(sizes[at] / shape[axis]) };
    else if (scales) {
      result[axis] = { size: Math.floor(float32(shape[axis] * scales[at])), scale: scales[at] };
    }
  });
  const policy = textAttribute(node, "keep_aspect_ratio_policy", "stretch");
  if (!sizes || policy === "stretch") return result;
  const ratios = axes.map((axis, at) => float32(sizes[at] / shape[axis]));
  const scale = policy === "not_larger" ? Math.min(...ratios) : Math.max(...ratios);
  for (const axis of axes) result[axis] = { size: Math.round(scale * shape[axis]), scale };
  return result;
}

/**
 * Where element `at` of the output lies on the axis of the input. Rounded to float32 at every step, as ONNX Runtime
 * does: 1.5 / 0.6 must be 2.5, or floor and ceil take the neighbour.
 */
function place(mode: string, at: number, scale: number, from: number, to: number): number {
  const half = float32(float32((at + 0.5) / scale) - 0.5);
  switch (mode) {
    case "asymmetric":
      return float32(at / scale);
    case "align_corners":
      return to === 1 ? 0 : float32((at * (from - 1)) / (to - 1));
    case "pytorch_half_pixel":
      return to === 1 ? 0 : half;
    case "half_pixel_symmetric": {
      const adjustment = to / (scale * from);
      return (from / 2) * (1 - adjustment) + (at + 0.5) / scale - 0.5;
    }
    default:
      return half;
  }
}

function nearest(mode: string, x: number): number {
  if (mode === "floor") return Math.floor(x);
  if (mode === "ceil") return Math.ceil(x);
  return mode === "round_prefer_ceil" ? Math.floor(x + 0.5) : Math.ceil(x - 0.5);
}

interface AxisPlan {
  readonly outer: number;
  readonly inner: number;
  readonly from: number;
  readonly to: number;
  /** Of each element of the output: where it lies on the input. */
  readonly places: readonly number[];
}

/** One axis: nearest copies rows, linear mixes two. */
function resizeAxis(
  node: OperatorNode,
  { outer, inner, from, to, places }: AxisPlan,
  source: ArrayLike<number>,
  target: Float64Array | NumberArray,
): void {
  const isLinear = modeOf(node) === "linear";
  const rounding = nearestOf(node);
  const clamp = (x: number) => Math.min(Math.max(x, 0), from - 1);
  for (let i = 0; i < to; i++) {
    const x = isLinear ? clamp(places[i]) : clamp(nearest(rounding, places[i]));
    const low = Math.floor(x);
    const high = Math.min(low + 1, from - 1);
    const share = x - low;
    for (let row = 0; row < outer; row++) {
      const a = (row * from + low) * inner;
      const b = (row * from + high) * inner;
      const put = (row * to + i) * inner;
      for (let k = 0; k < inner; k++) {
        target[put + k] =
          share === 0 ? source[a + k] : source[a + k] * (1 - share) + source[b + k] * share;
      }
    }
  }
}

const transforms = [
  "half_pixel",
  "asymmetric",
  "align_corners",
  "pytorch_half_pixel",
  "half_pixel_symmetric",
];

/** Why a mode is left to the fallback. */
function resizeRefuses(node: OperatorNode): string | undefined {
  const mode = modeOf(node);
  if (mode !== "nearest" && mode !== "linear") return `interpolates by ${mode}`;
  if (!transforms.includes(transformOf(node))) return `maps coordinates by ${transformOf(node)}`;
  return intAttribute(node, "antialias", 0) !== 0 ? "filters while it shrinks" : undefined;
}

export const resize: Operator = {
  refuses: resizeRefuses,
  infer(node, inputs) {
    return [
      {
        dtype: required(inputs, 0).dtype,
        shape: targetOf(node, inputs).map(({ size }) => size),
      },
    ];
  },
  compute(node, inputs, outputs) {
    const known = inputs.map((input) => input && { ...input, known: input });
    const input = required(inputs, 0);
    const output = required(outputs, 0);
    const target = targetOf(node, known);
    const mode = transformOf(node);
    let source: ArrayLike<number> = input.data;
    const shape = [...input.shape];
    for (const [axis, { size, scale }] of target.entries()) {
      const { outer, size: from, inner } = aroundAxis(shape, axis);
      if (size === from && scale === 1) continue;
      const places = Array.from({ length: size }, (_, at) => place(mode, at, scale, from, size));
      const next = new Float64Array(outer * size * inner);
      resizeAxis(node, { outer, inner, from, to: size, places }, source, next);
      source = next;
      shape[axis] = size;
    }
    // Interpolated integers are cut, as ONNX Runtime does.
    output.data.set(source);
  },
};

/** The Resize of opset 9; older ones have the scales as an attribute. */
export const upsample: Operator = {
  ...resize,
  refuses: (node) =>
    node.attributes.has("scales") ? "has its scales as an attribute" : resizeRefuses(node),
};
