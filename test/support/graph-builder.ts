/**
 * Tiny models for tests, without files: `graph().input("x", "float32", [2, 8]).node("Relu", ["x"], ["y"])…model()`.
 * Invariant: a thin layer over the public editor, so every test model has passed its checks.
 */
import type { DType } from "../../src/core/tensor.ts";
import {
  type Attribute,
  createModel,
  editModel,
  encodeModel,
  type FunctionSpec,
  type Model,
  type ModelEditor,
  memoryTensor,
  type NodeSpec,
  type TensorSource,
  type ValueInfo,
} from "../../src/onnx/index.ts";

export interface GraphOptions {
  /** Of ai.onnx; default 18. */
  readonly opset?: number;
  /** Default 8. */
  readonly irVersion?: number;
  /** Further domains; com.microsoft and bitloom are always imported at 1. */
  readonly domains?: Readonly<Record<string, number>>;
}

type Shape = ValueInfo["shape"];

export class GraphBuilder {
  readonly #editor: ModelEditor;
  #count = 0;

  constructor({ opset = 18, irVersion = 8, domains = {} }: GraphOptions) {
    const opsets = new Map(
      Object.entries({ "": opset, "com.microsoft": 1, bitloom: 1, ...domains }),
    );
    this.#editor = editModel(createModel({ irVersion, opsets }));
  }

  input(name: string, dtype: DType, shape?: Shape): this {
    this.#editor.addInput({ name, dtype, shape });
    return this;
  }

  output(name: string, dtype?: DType, shape?: Shape): this {
    this.#editor.addOutput({ name, dtype, shape });
    return this;
  }

  /** Data in the tensor's own layout: Float32Array for float32, Uint16Array of bits for float16 … */
  initializer(
    name: string,
    shape: readonly number[],
    data: ArrayBufferView,
    dtype: DType = dtypeOf(data),
  ): this {
    return this.tensor(memoryTensor(name, dtype, shape, data));
  }

  tensor(tensor: TensorSource): this {
    this.#editor.addInitializer(tensor);
    return this;
  }

  /** The operator may carry its domain: "com.microsoft::MatMulNBits". */
  node(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    name?: string,
  ): this {
    const [domain, opType] = operator.includes("::") ? operator.split("::") : ["", operator];
    return this.raw({
      name: name ?? `${opType}_${this.#count++}`,
      domain,
      opType,
      inputs,
      outputs,
      attributes,
    });
  }

  raw(spec: NodeSpec): this {
    this.#editor.addNodes([spec]);
    return this;
  }

  function(spec: FunctionSpec): this {
    this.#editor.addFunction(spec);
    return this;
  }

  model(): Model {
    return this.#editor.commit();
  }

  bytes(): Promise<Uint8Array> {
    return encodeModel(this.model());
  }
}

/** Starts a model. */
export function graph(options: GraphOptions = {}): GraphBuilder {
  return new GraphBuilder(options);
}

function dtypeOf(data: ArrayBufferView): DType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof BigInt64Array) return "int64";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Int8Array) return "int8";
  if (data instanceof Uint8Array) return "uint8";
  throw new Error("name the element type: it does not follow from the array");
}
