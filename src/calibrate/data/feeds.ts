/**
 * Building tensors to feed (core `FeedTensor`) and checking them against the graph's inputs.
 * Not here: where the values come from (text, manifest, synthetic).
 * Invariant: `data` holds exactly the elements that `shape` counts, row-major.
 */
import { BitloomError } from "../../core/errors.ts";
import type { Feeds, FeedTensor } from "../../core/feeds.ts";
import type { DType } from "../../core/tensor.ts";
import { elementCount, fromFloat16Bits, toFloat16Bits } from "../../core/tensor.ts";
import type { Graph, ValueInfo } from "../../onnx/types.ts";

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  /** Bit patterns. */
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  /** 0 or 1. */
  bool: Uint8Array,
} as const satisfies Partial<Record<DType, unknown>>;

/** Element types that can be fed. */
export type FeedDType = keyof typeof arrays;

/** One element per array element; float16 as bit patterns, bool as 0 or 1. */
export type FeedData = InstanceType<(typeof arrays)[FeedDType]>;

/** A dense row-major tensor of numbers. */
export interface NumericFeed extends FeedTensor {
  readonly dtype: FeedDType;
  readonly data: FeedData;
}

/** True when tensors of this element type can be fed. */
export function isFeedDType(dtype: string | undefined): dtype is FeedDType {
  return dtype !== undefined && Object.hasOwn(arrays, dtype);
}

/** A zeroed array for `count` elements of the type. */
export function createFeedData(dtype: FeedDType, count: number): FeedData {
  return new arrays[dtype](count);
}

const integerRanges = {
  int8: [-(2 ** 7), 2 ** 7 - 1],
  uint8: [0, 2 ** 8 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  bool: [0, 1],
} as const;

/**
 * Builds a tensor from plain numbers.
 *
 * @param input - graph input the tensor is for; named in errors.
 * @param values - elements in row-major order, as many as `shape` counts.
 * @param where - where they come from, for messages: `" in line 3 of data.jsonl"`.
 *
 * Numerics: float16 and float32 round to nearest even.
 *
 * @throws bad-data - a count that differs from the shape, a number that is no integer or out of range for an
 *   integer type, or an integer beyond 2^53 given as a JavaScript number.
 */
export function feedFrom(
  input: string,
  dtype: FeedDType,
  shape: readonly number[],
  values: ArrayLike<number | bigint | boolean>,
  where = "",
): NumericFeed {
  const count = elementCount(shape);
  if (values.length !== count) {
    throw badData(
      input,
      where,
      `${count} elements for shape [${shape.join(", ")}]`,
      `${values.length}`,
    );
  }
  const data = createFeedData(dtype, count);
  for (let i = 0; i < count; i++) {
    const value = values[i];
    if (dtype === "float16") data[i] = toFloat16Bits(Number(value));
    else if (dtype === "float32" || dtype === "float64") data[i] = Number(value);
    else data[i] = toInteger(input, where, dtype, value, i);
  }
  return { dtype, shape, data };
}

function toInteger(
  input: string,
  where: string,
  dtype: keyof typeof integerRanges,
  value: number | bigint | boolean,
  index: number,
): number | bigint {
  const [least, greatest] = integerRanges[dtype];
  const number = typeof value === "boolean" ? Number(value) : value;
  const exact = typeof number === "bigint" || Number.isSafeInteger(number);
  if (!exact || number < least || number > greatest) {
    throw badData(input, where, `${dtype} elements`, `${number} at element ${index}`);
  }
  return dtype === "int64" || dtype === "uint64" ? BigInt(number) : Number(number);
}

const floatDTypes: readonly string[] = ["float16", "float32", "float64"];

/**
 * Converts a tensor to the element type that the graph wants, within floats or within integers and bool.
 * Integers are never turned into floats: an image of bytes needs the model's own normalization first.
 *
 * @throws bad-data - the conversion crosses between integers and floats, or a value does not fit.
 */
export function convertFeed(
  input: string,
  tensor: NumericFeed,
  dtype: FeedDType,
  where = "",
): NumericFeed {
  if (tensor.dtype === dtype) return tensor;
  if (floatDTypes.includes(tensor.dtype) !== floatDTypes.includes(dtype)) {
    throw badData(
      input,
      where,
      dtype,
      `${tensor.dtype}, which is never converted silently; prepare it as the model expects`,
    );
  }
  return feedFrom(input, dtype, tensor.shape, feedNumbers(tensor), where);
}

/** The elements as numbers; float16 decoded. Exact, except that 64-bit integers stay bigint. */
export function feedNumbers(tensor: NumericFeed): ArrayLike<number | bigint> {
  return tensor.dtype === "float16"
    ? Float32Array.from(tensor.data as Uint16Array, fromFloat16Bits)
    : tensor.data;
}

/**
 * Checks feeds against the graph's inputs: names, element types, ranks, fixed dimensions, element counts.
 * Symbolic dimensions take any size; inputs that have an initializer may be left out.
 *
 * @param where - what the feeds are, for messages: `"line 3 of data.jsonl"`.
 * @throws bad-data - the first input that does not fit, with the list of the graph's inputs.
 */
export function validateFeeds(feeds: Feeds, graph: Graph, where = "calibration data"): void {
  const known = new Map(graph.inputs.map((info) => [info.name, info]));
  for (const name of Object.keys(feeds)) {
    if (known.has(name) || graph.overridable.has(name)) continue;
    throw misfit(graph, where, name, "an input of the model", "an unknown name");
  }
  for (const info of graph.inputs) {
    const tensor = Object.hasOwn(feeds, info.name) ? feeds[info.name] : undefined;
    if (!tensor) {
      if (graph.initializers.has(info.name)) continue;
      throw misfit(graph, where, info.name, describeInput(info), "nothing");
    }
    const got = `${tensor.dtype} [${tensor.shape.join(", ")}]`;
    if (tensor.dtype !== info.dtype || !shapeFits(tensor.shape, info.shape)) {
      throw misfit(graph, where, info.name, describeInput(info), got);
    }
    if (tensor.data.length !== elementCount(tensor.shape)) {
      const expected = `${elementCount(tensor.shape)} elements for ${got}`;
      throw misfit(graph, where, info.name, expected, `${tensor.data.length}`);
    }
  }
}

function shapeFits(shape: readonly number[], declared: ValueInfo["shape"]): boolean {
  if (declared === undefined) return true;
  return (
    shape.length === declared.length &&
    declared.every((dim, axis) => typeof dim !== "number" || dim === shape[axis])
  );
}

function misfit(
  graph: Graph,
  where: string,
  input: string,
  expected: string,
  got: string,
): BitloomError<"bad-data"> {
  return new BitloomError(
    "bad-data",
    `Input "${input}" in ${where}: expected ${expected}, got ${got}. The model's inputs are ${describeInputs(graph)}.`,
    { input, expected, got },
  );
}

function badData(
  input: string,
  where: string,
  expected: string,
  got: string,
): BitloomError<"bad-data"> {
  return new BitloomError(
    "bad-data",
    `Input "${input}"${where}: expected ${expected}, got ${got}.`,
    { input, expected, got },
  );
}

/** `float32 [batch, 3, ?, ?]`. */
export function describeInput(info: ValueInfo): string {
  const shape = info.shape ? `[${info.shape.map((dim) => dim ?? "?").join(", ")}]` : "of any shape";
  return `${info.dtype ?? "no tensor"} ${shape}`;
}

/** `"x" float32 [batch, 3], "y" int64 [1]`. */
export function describeInputs(graph: Graph): string {
  return graph.inputs.map((info) => `"${info.name}" ${describeInput(info)}`).join(", ") || "none";
}
