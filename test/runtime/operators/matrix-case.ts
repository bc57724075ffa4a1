/**
 * One-node graphs on the kernels and on ONNX Runtime, for the tests of matrix operators.
 */
import type { Feeds, FeedTensor } from "../../../src/core/feeds.ts";
import { createRandom } from "../../../src/core/random.ts";
import { type DType, elementCount, toFloat16Bits } from "../../../src/core/tensor.ts";
import type { Attribute, Model } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import type { Runtime } from "../../../src/runtime/index.ts";
import type { TensorLike } from "../../../src/runtime/session/tensor.ts";
import { numbersOf } from "../../rewrite/uses.ts";
import { graph } from "../../support/graph-builder.ts";

export type FloatType = "float32" | "float16";

/** Normal numbers in the layout of their type. */
export function normalTensor(shape: readonly number[], dtype: FloatType, seed: number): FeedTensor {
  const random = createRandom(seed);
  const values = Float32Array.from({ length: elementCount(shape) }, () => random.normal());
  return {
    dtype,
    shape,
    data: dtype === "float32" ? values : Uint16Array.from(values, toFloat16Bits),
  };
}

export interface NodeCase {
  readonly operator: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly opset?: number;
  /** In the order of the node's inputs; undefined for those left out. */
  readonly inputs: readonly (FeedTensor | undefined)[];
  /** Positions of the inputs that are initializers; the others are fed. */
  readonly constants?: readonly number[];
  /** Types of the outputs; default one of the first input's type. */
  readonly outputs?: readonly DType[];
}

/** The graph of the node, with dynamic shapes, and its feeds. */
export function nodeModel({
  operator,
  attributes = {},
  opset = 18,
  inputs,
  constants = [],
  outputs,
}: NodeCase): { readonly model: Model; readonly feeds: Feeds } {
  const builder = graph({ opset });
  const feeds: Record<string, FeedTensor> = {};
  const names = inputs.map((tensor, at) => {
    if (!tensor) return "";
    const name = `i${at}`;
    if (constants.includes(at)) {
      builder.initializer(name, tensor.shape, tensor.data as Float32Array, tensor.dtype);
      return name;
    }
    builder.input(
      name,
      tensor.dtype,
      tensor.shape.map(() => undefined),
    );
    feeds[name] = tensor;
    return name;
  });
  const types = outputs ?? [inputs[0]?.dtype ?? "float32"];
  const results = types.map((_, at) => `o${at}`);
  builder.node(operator, names, results, attributes);
  for (const [at, dtype] of types.entries()) builder.output(results[at], dtype);
  return { model: builder.model(), feeds };
}

export const tensorsOf = (feeds: Feeds): Record<string, TensorLike> =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      { type: dtype, dims: shape, data: data as Float32Array },
    ]),
  );

export interface Run {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

const runOf = (tensor: FeedTensor): Run => ({
  shape: [...tensor.shape],
  values:
    tensor.data instanceof BigInt64Array
      ? Float64Array.from(tensor.data, Number)
      : numbersOf(tensor),
});

/** Every output by the kernels alone. */
export async function onKernels(
  model: Model,
  feeds: Feeds,
  precision: "exact" | "fast" = "exact",
): Promise<Record<string, Run>> {
  const session = await createSession(model, { precision, threads: 1, fallback: "none" });
  try {
    const results = await session.run(tensorsOf(feeds));
    return Object.fromEntries(
      Object.entries(results).map(([name, { type, dims, data }]) => [
        name,
        runOf({ dtype: type, shape: dims, data }),
      ]),
    );
  } finally {
    await session.release();
  }
}

/** Every output by ONNX Runtime without its optimisations. */
export async function onOrt(
  runtime: Runtime,
  model: Model,
  feeds: Feeds,
): Promise<Record<string, Run>> {
  const session = await runtime.open(model, { optimize: "none" });
  try {
    const results = await session.run(feeds);
    return Object.fromEntries(
      Object.entries(results).map(([name, tensor]) => [name, runOf(tensor)]),
    );
  } finally {
    await session.release();
  }
}

/** max |a − b| ÷ max(|b|), 0 for empty results; a difference of shapes or a NaN in one of them is infinite. */
export function difference(a: Run, b: Run): number {
  if (a.shape.join() !== b.shape.join()) return Number.POSITIVE_INFINITY;
  let [error, size] = [0, 0];
  for (const [at, expected] of b.values.entries()) {
    if (Object.is(a.values[at], expected)) continue;
    const apart = Math.abs(a.values[at] - expected);
    error = Math.max(error, Number.isNaN(apart) ? Number.POSITIVE_INFINITY : apart);
    size = Math.max(size, Math.abs(expected));
  }
  for (const expected of b.values) size = Math.max(size, Math.abs(expected));
  return error === 0 ? 0 : error / size;
}
