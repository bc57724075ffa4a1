/**
 * Tensors as callers hand them in and get them: the shape of onnxruntime-common's `Tensor`, so that its tensors are
 * accepted and ours are read by code that was written for it.
 */
import { BitloomError } from "../../core/errors.ts";
import type { FeedTensor, TensorData } from "../../core/feeds.ts";
import { type DType, dtypes, elementCount } from "../../core/tensor.ts";
import type { ValueInfo } from "../../onnx/types.ts";
import { arrayOf, type HostTensor, isStored, storedNumbers } from "./storage.ts";

/** What a feed must have; tensors of onnxruntime-common do. */
export interface TensorLike {
  /** Element type: "float32", "int64" … */
  readonly type: string;
  readonly dims: readonly number[];
  /** Dense, row-major; float16 as bit patterns. */
  readonly data: TensorData | ArrayBufferView;
}

/** A result. Its data belongs to the caller. */
export class Tensor implements TensorLike {
  readonly type: DType;
  readonly dims: readonly number[];
  readonly data: TensorData;
  readonly location = "cpu";

  constructor(type: DType, data: TensorData, dims: readonly number[]) {
    this.type = type;
    this.data = data;
    this.dims = dims;
  }

  /** Elements. */
  get size(): number {
    return elementCount(this.dims);
  }

  /** The data, as tensors of onnxruntime-common give it. */
  async getData(): Promise<TensorData> {
    return this.data;
  }

  /** Nothing to do: the data is ordinary memory. */
  dispose(): void {}
}

export const tensorOf = ({ dtype, shape, data }: FeedTensor): Tensor =>
  new Tensor(dtype, data, shape);

/**
 * Checks the feeds against the inputs of the graph.
 *
 * @param defaults - the values of inputs that need not be fed.
 * @returns one tensor per input, in the order of `inputs`.
 * @throws bad-data - missing or unknown name, wrong type, kind of array, rank, fixed dimension or length; symbols that
 *   differ.
 */
export function readFeeds(
  feeds: Readonly<Record<string, TensorLike>>,
  inputs: readonly ValueInfo[],
  defaults: ReadonlyMap<string, HostTensor>,
): HostTensor[] {
  const known = new Set(inputs.map(({ name }) => name));
  const unknown = Object.keys(feeds).find((name) => !known.has(name));
  if (unknown !== undefined) {
    const got = `"${unknown}"`;
    throw badFeed(unknown, [...known].join(", "), got, `The model has no input ${got}`);
  }
  const symbols = new Map<string, { readonly size: number; readonly input: string }>();
  return inputs.map((info) => {
    const feed = feeds[info.name];
    const initial = defaults.get(info.name);
    if (!feed && initial) return initial;
    if (!feed) {
      const expected = `${info.dtype} [${info.shape?.join(", ") ?? ""}]`;
      throw badFeed(info.name, expected, "nothing", `Input "${info.name}" was not fed`);
    }
    return readFeed(feed, info, symbols);
  });
}

function readFeed(
  { type, dims, data }: TensorLike,
  { name, dtype, shape }: ValueInfo,
  symbols: Map<string, { readonly size: number; readonly input: string }>,
): HostTensor {
  const expected = `${dtype} [${shape?.join(", ") ?? "any shape"}]`;
  const got = `${type} [${dims.join(", ")}]`;
  const refuse = (what: string) => badFeed(name, expected, got, `Input "${name}" ${what}`);
  if (dtype !== undefined && type !== dtype) throw refuse("has the wrong type");
  if (!(type in dtypes) || !isStored(type as DType))
    throw refuse("is of a type that cannot be fed");
  if (dims.some((dim) => !Number.isInteger(dim) || dim < 0)) throw refuse("has no valid shape");
  if (shape && shape.length !== dims.length) throw refuse("has the wrong number of dimensions");
  for (const [index, dim] of (shape ?? []).entries()) {
    if (typeof dim === "number" && dim !== dims[index]) throw refuse("has the wrong shape");
    if (typeof dim !== "string") continue;
    const symbol = symbols.get(dim);
    symbols.set(dim, symbol ?? { size: dims[index], input: name });
    if (symbol && symbol.size !== dims[index]) {
      throw refuse(`has ${dims[index]} for "${dim}", which is ${symbol.size} in "${symbol.input}"`);
    }
  }
  if (!ArrayBuffer.isView(data) || data instanceof DataView) throw refuse("holds no typed array");
  const array = Object.prototype.toString.call(data).slice("[object ".length, -1);
  const fitting = arrayNames(type as DType);
  if (!fitting.includes(array)) throw refuse(`holds a ${array} where ${fitting[0]} belongs`);
  const numbers = storedNumbers(type as DType, data as Exclude<TensorData, readonly string[]>);
  if (numbers.length !== elementCount(dims)) {
    throw refuse(`holds ${numbers.length} numbers where its shape needs ${elementCount(dims)}`);
  }
  return { dtype: type as DType, shape: [...dims], data: numbers };
}

/** Typed arrays that hold a tensor for a caller. */
function arrayNames(dtype: DType): readonly string[] {
  if (dtype === "float16") return ["Uint16Array", "Float16Array"];
  if (dtype === "bfloat16") return ["Uint16Array"];
  if (dtype === "int64") return ["BigInt64Array"];
  return [dtype === "uint64" ? "BigUint64Array" : arrayOf(dtype).name];
}

function badFeed(input: string, expected: string, got: string, what: string): BitloomError {
  return new BitloomError(
    "bad-data",
    `${what}: expected ${expected}, got ${got}. Feed every input of the model, with its type and shape.`,
    { input, expected, got },
  );
}
