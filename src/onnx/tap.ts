/**
 * Appends operators to a copy of a graph so that a runtime computes statistics and losses itself and only small
 * results leave it. Knows which operators changed their signature between opsets, so callers need not.
 */
import { bytesOf, type DType, dtypes } from "../core/tensor.ts";
import { attribute } from "./attribute.ts";
import { memoryTensor } from "./tensor-source.ts";
import type { Attribute, ModelEditor } from "./types.ts";

/** Appends operators to a copy of a graph. */
export interface GraphTap {
  /** Adds one node and returns its output. */
  op(
    opType: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): string;
  /** What `make` gives, made once for each key. */
  once<T>(key: string, make: () => T): T;
  /** An int64 constant. */
  int64(values: readonly number[], shape?: readonly number[]): string;
  /** A float32 scalar constant. */
  float(value: number): string;
  /** The value as float32, so that nothing overflows in float16 graphs. */
  toFloat(value: string): string;
  /** The value as float32 [rows, columns]: all leading axes collapsed. */
  rows(value: string, columns: number): string;
  /** ReduceSum, ReduceMax, ReduceSumSquare … over `axes`, or over everything. */
  reduce(opType: string, value: string, axes?: readonly number[], keepDims?: boolean): string;
  /** The value with zeros around it; negative counts cut off. */
  pad(value: string, before: readonly number[], after: readonly number[]): string;
  /** Several scalars as one vector. */
  concatenateScalars(values: readonly string[]): string;
  /** Makes a float32 value a graph output under a name of its own. */
  output(name: string, value: string): string;
  /** Makes a value a graph output. */
  expose(value: string, dtype: DType | undefined): string;
}

/** Opset from which each reduction takes its axes as an input instead of an attribute. */
const axesAsInput: Readonly<Record<string, number>> = { ReduceSum: 13 };
const axesAsInputOthers = 18;
/** The same of Pad's counts. */
const padsAsInput = 11;

/** A tap on the graph that `editor` edits. */
export function createTap(editor: ModelEditor): GraphTap {
  const opset = editor.model.opsets.get("") ?? 1;
  const made = new Map<string, unknown>();
  const tap: GraphTap = {
    op(opType, inputs, attributes = {}) {
      const name = editor.uniqueName(`bitloom_${opType}`);
      const output = `${name}_output`;
      editor.addNodes([{ name, opType, inputs, outputs: [output], attributes }]);
      return output;
    },
    once<T>(key: string, make: () => T): T {
      if (!made.has(key)) made.set(key, make());
      return made.get(key) as T;
    },
    int64(values, shape = [values.length]) {
      const bytes = bytesOf(BigInt64Array.from(values, BigInt));
      return tap.op("Constant", [], {
        value: attribute.tensor(memoryTensor("value", "int64", shape, bytes)),
      });
    },
    float(value) {
      const bytes = bytesOf(Float32Array.of(value));
      return tap.op("Constant", [], {
        value: attribute.tensor(memoryTensor("value", "float32", [], bytes)),
      });
    },
    toFloat(value) {
      const to = attribute.int(dtypes.float32.code);
      return tap.once(`float ${value}`, () => tap.op("Cast", [value], { to }));
    },
    rows(value, columns) {
      return tap.once(`rows ${value}`, () =>
        tap.op("Reshape", [tap.toFloat(value), tap.int64([-1, columns])]),
      );
    },
    reduce(opType, value, axes, keepDims = false) {
      const keepdims = attribute.int(keepDims ? 1 : 0);
      if (!axes) return tap.op(opType, [value], { keepdims });
      return opset >= (axesAsInput[opType] ?? axesAsInputOthers)
        ? tap.op(opType, [value, tap.int64(axes)], { keepdims })
        : tap.op(opType, [value], { keepdims, axes: attribute.ints(axes) });
    },
    pad(value, before, after) {
      const pads = [...before, ...after];
      return opset >= padsAsInput
        ? tap.op("Pad", [value, tap.int64(pads)])
        : tap.op("Pad", [value], { pads: attribute.ints(pads) });
    },
    concatenateScalars(values) {
      const one = tap.int64([1]);
      return tap.op(
        "Concat",
        values.map((value) => tap.op("Reshape", [value, one])),
        { axis: attribute.int(0) },
      );
    },
    output(name, value) {
      const node = editor.uniqueName("bitloom_Identity");
      editor.addNodes([{ name: node, opType: "Identity", inputs: [value], outputs: [name] }]);
      return tap.expose(name, "float32");
    },
    expose(value, dtype) {
      editor.addOutput({ name: value, dtype, shape: undefined });
      return value;
    },
  };
  return tap;
}
