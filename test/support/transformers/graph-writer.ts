/**
 * Writes graphs with the names an exporter would give: "/model/layers.0/mlp/Mul_1". Two dialects: "torch"
 * (TorchScript exporter, which optimum drives; constants are nodes) and "genai" (model builder of onnxruntime-genai;
 * constants are shared initializers). Not here: what any architecture looks like.
 */
import type { DType } from "../../../src/core/tensor.ts";
import { toFloat16Bits } from "../../../src/core/tensor.ts";
import {
  type Attribute,
  attribute,
  type Model,
  memoryTensor,
  type TensorSource,
} from "../../../src/onnx/index.ts";
import { type GraphBuilder, graph } from "../graph-builder.ts";
import type { TransformerFloat } from "./config.ts";

export type Dialect = "torch" | "genai";

export interface GraphWriterOptions {
  readonly opset: number;
  readonly irVersion: number;
  readonly dialect: Dialect;
}

type Attributes = Readonly<Record<string, Attribute>>;

interface Shared {
  readonly builder: GraphBuilder;
  readonly options: GraphWriterOptions;
  /** Nodes by "scope/operator". */
  readonly counts: Map<string, number>;
  readonly constants: Set<string>;
}

export class GraphWriter {
  readonly #shared: Shared;
  readonly #scope: string;

  constructor(options: GraphWriterOptions | Shared, scope = "") {
    this.#shared =
      "builder" in options
        ? options
        : { builder: graph(options), options, counts: new Map(), constants: new Set() };
    this.#scope = scope;
  }

  /** The same graph; nodes get names in this scope, relative to the present one. */
  in(scope: string): GraphWriter {
    return new GraphWriter(this.#shared, `${this.#scope}/${scope}`);
  }

  get builder(): GraphBuilder {
    return this.#shared.builder;
  }

  get opset(): number {
    return this.#shared.options.opset;
  }

  model(): Model {
    return this.builder.model();
  }

  /** Adds an initializer. */
  tensor(tensor: TensorSource): string {
    this.builder.tensor(tensor);
    return tensor.name;
  }

  /**
   * One node with one output, which is returned.
   *
   * @param output - its name where the graph prescribes it.
   */
  op(
    operator: string,
    inputs: readonly string[],
    attributes: Attributes = {},
    output?: string,
  ): string {
    return this.node(operator, inputs, [output], attributes)[0];
  }

  /** One node; an output is named, left out ("") or named after the node (undefined). */
  node(
    operator: string,
    inputs: readonly string[],
    outputs: readonly (string | undefined)[],
    attributes: Attributes = {},
  ): string[] {
    const { builder, counts, options } = this.#shared;
    const stem = `${this.#scope}/${operator.split("::").at(-1)}`;
    const count = counts.get(stem) ?? 0;
    counts.set(stem, count + 1);
    const name = count === 0 ? stem : `${stem}_${count}`;
    const separator = options.dialect === "torch" ? "_" : "/";
    const named = outputs.map((output, i) => output ?? `${name}${separator}output_${i}`);
    builder.node(operator, inputs, named, attributes, name);
    return named;
  }

  /** int64 constant [length]; ±2^63 means the ends of the range. */
  ints(values: readonly number[]): string {
    return this.#constant("int64", [values.length], values);
  }

  /** int64 scalar constant. */
  int(value: number): string {
    return this.#constant("int64", [], [value]);
  }

  /** Float scalar constant. */
  float(value: number, dtype: TransformerFloat = "float32"): string {
    return this.#constant(dtype, [], [value]);
  }

  #constant(dtype: DType, shape: readonly number[], values: readonly number[]): string {
    const { builder, constants, options } = this.#shared;
    const tensor = (name: string) => memoryTensor(name, dtype, shape, arrayOf(dtype, values));
    if (options.dialect === "torch") {
      return this.op("Constant", [], { value: attribute.tensor(tensor("value")) });
    }
    const text = shape.length === 0 ? `${values[0]}` : `[${values.join(", ")}]`;
    const name = `/model/constants/${dtype.toUpperCase()}/${text}`;
    if (!constants.has(name)) builder.tensor(tensor(name));
    constants.add(name);
    return name;
  }
}

function arrayOf(dtype: DType, values: readonly number[]): ArrayBufferView {
  if (dtype === "float32") return Float32Array.from(values);
  if (dtype === "float16") return Uint16Array.from(values, toFloat16Bits);
  const limit = 2n ** 63n - 1n;
  return BigInt64Array.from(values, (value) => (value >= 2 ** 63 ? limit : BigInt(value)));
}
