/**
 * Appends operators to a copy of a graph so that a runtime computes statistics and losses itself and only small
 * results leave it. Knows which operators changed their signature between opsets, so callers need not.
 */
import { bytesOf, type DType, dtypes } from "../core/tensor.ts";
import { attribute } from "./attribute.ts";
import { memoryTensor } from "./tensor-source.ts";
import type { Attribute, ModelEditor } from "./types.ts";

export interface GraphTap {
  /** Adds one node and returns its output. */
  op(
    opType: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, Attribute>>,
  ): string;
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

/** A tap on the graph that `editor` edits. */
export function createTap(editor: ModelEditor): GraphTap {
  const opset = editor.model.opsets.get("") ?? 1;
  const floats = new Map<string, string>();
  const matrices = new Map<string, string>();
  const tap: GraphTap = {
    op(opType, inputs, attributes = {}) {
      const name = editor.uniqueName(`bitloom_${opType}`);
      const output = `${name}_output`;
      editor.addNodes([{ name, opType, inputs, outputs: [output], attributes }]);
      return output;
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
      const known = floats.get(value);
      if (known) return known;
      const cast = tap.op("Cast", [value], { to: attribute.int(dtypes.float32.code) });
      floats.set(value, cast);
      return cast;
    },
    rows(value, columns) {
      const known = matrices.get(value);
      if (known) return known;
      const matrix = tap.op("Reshape", [tap.toFloat(value), tap.int64([-1, columns])]);
      matrices.set(value, matrix);
      return matrix;
    },
    reduce(opType, value, axes, keepDims = false) {
      const keepdims = attribute.int(keepDims ? 1 : 0);
      if (!axes) return tap.op(opType, [value], { keepdims });
      return opset >= (axesAsInput[opType] ?? axesAsInputOthers)
        ? tap.op(opType, [value, tap.int64(axes)], { keepdims })
        : tap.op(opType, [value], { keepdims, axes: attribute.ints(axes) });
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
