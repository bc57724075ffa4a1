/**
 * Shape arithmetic as the TorchScript exporter writes it: every size is Shape, Gather, Unsqueeze, Concat again.
 * A size is an int64 scalar of the graph (string) or a known number. Opset 13 or newer.
 */
import { attribute, memoryTensor } from "../../../src/onnx/index.ts";
import type { GraphWriter } from "./graph-writer.ts";

export type Size = string | number;

/** ONNX numbers of the element types that casts name. */
export const castTo = {
  float32: attribute.int(1),
  int32: attribute.int(6),
  int64: attribute.int(7),
  bool: attribute.int(9),
  float16: attribute.int(10),
} as const;

/** The largest int64, exporters' "to the end". */
export const toTheEnd = 2 ** 63;

/** Size of an axis, an int64 scalar. */
export function sizeOf(writer: GraphWriter, value: string, axis: number): string {
  const shape = writer.op("Shape", [value]);
  return writer.op("Gather", [shape, writer.int(axis)], { axis: attribute.int(0) });
}

/** int64 [sizes.length]. */
export function shapeFrom(writer: GraphWriter, sizes: readonly Size[]): string {
  if (sizes.every((size) => typeof size === "number")) return writer.ints(sizes);
  const parts = sizes.map((size) =>
    typeof size === "number" ? writer.ints([size]) : unsqueeze(writer, size, 0),
  );
  return writer.op("Concat", parts, { axis: attribute.int(0) });
}

export function unsqueeze(writer: GraphWriter, value: string, axis: number): string {
  return writer.op("Unsqueeze", [value, writer.ints([axis])]);
}

export function reshape(writer: GraphWriter, value: string, sizes: readonly Size[]): string {
  return writer.op("Reshape", [value, shapeFrom(writer, sizes)]);
}

export function transpose(writer: GraphWriter, value: string, order: readonly number[]): string {
  return writer.op("Transpose", [value], { perm: attribute.ints(order) });
}

/** torch's expand, in which −1 keeps a size: the exporter replaces every −1 by 1 at run time, whether or not any is. */
export function expand(writer: GraphWriter, value: string, sizes: readonly Size[]): string {
  const shape = shapeFrom(writer, sizes);
  const ones = filled(writer, writer.op("Shape", [shape]), 1);
  const minusOnes = writer.op("Mul", [ones, writer.int(-1)]);
  const kept = writer.op("Equal", [shape, minusOnes]);
  return writer.op("Expand", [value, writer.op("Where", [kept, ones, shape])]);
}

/** int64 tensor of a computed shape. */
export function filled(writer: GraphWriter, shape: string, value: number): string {
  const tensor = memoryTensor("value", "int64", [1], BigInt64Array.of(BigInt(value)));
  return writer.op("ConstantOfShape", [shape], { value: attribute.tensor(tensor) });
}

/** Elements from … to of one axis. */
export function slice(
  writer: GraphWriter,
  value: string,
  axis: number,
  from: Size,
  to: Size,
): string {
  const end = (size: Size) =>
    typeof size === "number" ? writer.ints([size]) : unsqueeze(writer, size, 0);
  return writer.op("Slice", [value, end(from), end(to), writer.ints([axis]), writer.ints([1])]);
}

/** Mean over the last axis, which stays with size 1; axes became an input at opset 18. */
export function meanOfLastAxis(writer: GraphWriter, value: string): string {
  const keepdims = attribute.int(1);
  return writer.opset < 18
    ? writer.op("ReduceMean", [value], { axes: attribute.ints([-1]), keepdims })
    : writer.op("ReduceMean", [value, writer.ints([-1])], { keepdims });
}

/** 0 … count − 1, or from … to − 1. */
export function range(writer: GraphWriter, from: Size, to: Size): string {
  const scalar = (size: Size) => (typeof size === "number" ? writer.int(size) : size);
  return writer.op("Range", [scalar(from), scalar(to), writer.int(1)]);
}
