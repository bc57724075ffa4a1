/**
 * One-node graphs run three ways: ONNX Runtime, the session's kernels, the operator's JavaScript form.
 * Invariant: numbers follow from the case alone.
 */
import { expect } from "vitest";
import type { FeedTensor } from "../../../src/core/feeds.ts";
import { createRandom } from "../../../src/core/random.ts";
import { type DType, elementCount } from "../../../src/core/tensor.ts";
import { type Attribute, encodeModel, openModel } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import type { Runtime } from "../../../src/runtime/index.ts";
import { operators } from "../../../src/runtime/operators/index.ts";
import { evaluate } from "../../../src/runtime/session/constants.ts";
import {
  arrayOf,
  feedOf,
  hostTensor,
  isStored,
  numbersOfBytes,
  storedNumbers,
} from "../../../src/runtime/session/storage.ts";
import { graph } from "../../support/graph-builder.ts";

/** An input: its numbers, and whether it is an initializer; undefined is an input left out. */
export interface Given {
  readonly tensor: FeedTensor;
  readonly isConstant?: boolean;
}

export interface Case {
  readonly operator: string;
  readonly inputs: readonly (Given | undefined)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly opset?: number;
  readonly outputs?: number;
  /** |got − wanted| ≤ bound · (1 + |wanted|); default 2e-6, for float16 outputs 1.5e-3. */
  readonly bound?: number;
  /** Of the session; default 1. */
  readonly threads?: number;
}

/** Numbers in their element type: int64 as BigInt, float16 as bits. */
export function given(dtype: DType, shape: readonly number[], numbers: readonly number[]): Given {
  const data = new (arrayOf(dtype))(numbers);
  return { tensor: feedOf({ dtype, shape, data }) };
}

/** The same as an initializer. */
export function constant(
  dtype: DType,
  shape: readonly number[],
  numbers: readonly number[],
): Given {
  return { ...given(dtype, shape, numbers), isConstant: true };
}

/** Normal numbers; whole ones for integers, 0 or 1 for bool. */
export function random(dtype: DType, shape: readonly number[], seed = 1, scale = 2): Given {
  const source = createRandom(seed);
  const numbers = Array.from({ length: elementCount(shape) }, () => {
    if (dtype === "bool") return source.integer(2);
    if (dtype.startsWith("uint")) return source.integer(100);
    const x = scale * source.normal();
    return dtype.startsWith("int") ? Math.round(5 * x) : x;
  });
  return given(dtype, shape, numbers);
}

/** Lists of integers as shapes, axes and pads come: int64, one dimension. */
export const ints = (...values: readonly number[]): Given =>
  given("int64", [values.length], values);
/** The same as an initializer. */
export const constantInts = (...values: readonly number[]): Given =>
  constant("int64", [values.length], values);

function modelOf({ operator, inputs, attributes = {}, opset = 18, outputs = 1 }: Case) {
  const builder = graph({ opset, irVersion: opset > 20 ? 10 : 8 });
  inputs.forEach((input, index) => {
    if (!input) return;
    const { dtype, shape, data } = input.tensor;
    if (input.isConstant) builder.initializer(`x${index}`, shape, data as Uint8Array, dtype);
    else
      builder.input(
        `x${index}`,
        dtype,
        shape.map((_, axis) => `d${index}_${axis}`),
      );
  });
  const names = Array.from({ length: outputs }, (_, index) => `y${index}`);
  const types = host({ operator, inputs, attributes, opset, outputs });
  for (const [index, name] of names.entries()) builder.output(name, types[index]?.dtype);
  builder.node(
    operator,
    inputs.map((input, index) => (input ? `x${index}` : "")),
    names,
    attributes,
  );
  return builder.model();
}

/** The JavaScript form. */
function host({ operator, inputs, attributes = {}, opset = 18, outputs = 1 }: Case) {
  const found = operators[operator];
  if (!found) throw new Error(`no operator ${operator}`);
  const tensors = inputs.map((input) => {
    if (!input || !isStored(input.tensor.dtype)) return undefined;
    const { dtype, shape, data } = input.tensor;
    const numbers = /int[24]$/.test(dtype)
      ? numbersOfBytes(dtype, shape, data as Uint8Array)
      : storedNumbers(dtype, data as Uint8Array);
    return hostTensor(dtype, shape, numbers);
  });
  const node = {
    name: "node",
    domain: "",
    opType: operator,
    inputs: inputs.map((input, index) => (input ? `x${index}` : "")),
    outputs: Array.from({ length: outputs }, (_, index) => `y${index}`),
    attributes: new Map(Object.entries(attributes)),
    opset,
  };
  return evaluate(node, found, tensors);
}

function expectClose(label: string, got: FeedTensor, wanted: FeedTensor, bound?: number): void {
  expect(got.dtype, label).toBe(wanted.dtype);
  expect([...got.shape], label).toEqual([...wanted.shape]);
  const a = storedNumbers(got.dtype, got.data as Uint8Array);
  const b = storedNumbers(wanted.dtype, wanted.data as Uint8Array);
  expect(a.length, label).toBe(b.length);
  const isFloating = /float/.test(wanted.dtype);
  const limit = isFloating ? (bound ?? (wanted.dtype === "float16" ? 1.5e-3 : 2e-6)) : 0;
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
    const isNear = Number.isFinite(b[i]) && Math.abs(a[i] - b[i]) <= limit * (1 + Math.abs(b[i]));
    if (!isNear) expect.fail(`${label}: element ${i} is ${a[i]}, expected ${b[i]}`);
  }
}

/** Runs the case all ways and expects the results to agree with ONNX Runtime. */
export async function expectSame(runtime: Runtime, one: Case): Promise<void> {
  const model = await openModel(await encodeModel(modelOf(one)));
  const feeds = Object.fromEntries(
    one.inputs.flatMap((input, index) =>
      input && !input.isConstant ? [[`x${index}`, input.tensor] as const] : [],
    ),
  );
  const reference = await runtime.open(model, { optimize: "none" });
  const wanted = await reference.run(feeds);
  await reference.release();
  for (const [index, tensor] of host(one).entries()) {
    if (tensor)
      expectClose(
        `JavaScript form, output ${index}`,
        feedOf(tensor),
        wanted[`y${index}`],
        one.bound,
      );
  }
  const session = await createSession(model, { threads: one.threads ?? 1, fallback: "none" });
  try {
    for (const label of ["session", "session, second run"]) {
      const results = await session.run(
        Object.fromEntries(
          Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
            name,
            { type: dtype, dims: shape, data },
          ]),
        ),
      );
      for (const [name, { type, dims, data }] of Object.entries(results)) {
        const tensor = { dtype: type as DType, shape: dims, data: data as FeedTensor["data"] };
        expectClose(`${label}, ${name}`, tensor, wanted[name], one.bound);
      }
    }
  } finally {
    await session.release();
  }
}
