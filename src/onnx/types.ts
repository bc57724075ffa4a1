/**
 * Views over an ONNX file: what the rest of the library sees of a graph. Changing these should make you stop.
 * Conveniences belong in free functions. Invariant: views are read-only; only a `ModelEditor` makes new models.
 */
import type { DType } from "../core/tensor.ts";

/** A tensor whose bytes are read or computed when asked for, never cached here. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Little-endian, densely packed; sub-byte types two, four per byte, low bits first. */
  readonly byteLength: number;
  /** The elements, little-endian; may read a file. */
  bytes(): Promise<Uint8Array>;
}

/** An attribute of a node. */
export type Attribute =
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "int"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "tensor"; readonly value: TensorSource }
  | { readonly type: "floats"; readonly value: readonly number[] }
  | { readonly type: "ints"; readonly value: readonly number[] }
  | { readonly type: "strings"; readonly value: readonly string[] }
  /** In a function body: the value of the calling node's attribute `value`, of type `of`. */
  | { readonly type: "reference"; readonly value: string; readonly of: "int" | "float" | "ints" }
  /** A subgraph (If, Loop, Scan): the outer values that it reads. */
  | { readonly type: "graph"; readonly captures: readonly string[] }
  /** Kept byte for byte, not interpreted (sparse tensors, type protos, lists of tensors or graphs …). */
  | { readonly type: "opaque"; readonly captures: readonly string[] };

/** A node of a graph. */
export interface Node {
  /** The node's own name, or "<opType>_<index>" made unique when the file gives none. Unique within the graph. */
  readonly name: string;
  readonly domain: string; // "" for ai.onnx
  readonly opType: string;
  readonly inputs: readonly string[]; // "" = left out
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
}

/** Type of a graph value as the file declares it. */
export interface ValueInfo {
  readonly name: string;
  readonly dtype: DType | undefined; // undefined: no tensor
  readonly shape: readonly (number | string | undefined)[] | undefined;
}

/** A graph, read only. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[]; // without those that only give an initializer's type
  readonly outputs: readonly ValueInfo[];
  /** Topological order. */
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, TensorSource>;
  /** Initializers that are graph inputs too: a caller may override them, so they are no constants. */
  readonly overridable: ReadonlySet<string>;
  /** Declared types of inputs, outputs and inner values. Inner ones may be stale: never trust their shapes. */
  valueInfo(value: string): ValueInfo | undefined;
  /** The node that computes the value; undefined for inputs and initializers. */
  producer(value: string): Node | undefined;
  /** Nodes of this graph that read the value directly, with the input's position. */
  uses(value: string): readonly { readonly node: Node; readonly index: number }[];
  /** True when a subgraph (If, Loop, Scan body) of some node reads the value. */
  readInSubgraph(value: string): boolean;
}

/** An ONNX model; opening it reads no weight. */
export interface Model {
  /** Where it was opened; undefined for models made in memory. */
  readonly path: string | undefined;
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>; // "" = ai.onnx
  readonly graph: Graph;
  readonly metadata: ReadonlyMap<string, string>;
  /** "domain::name" of the model-local functions. */
  readonly functions: readonly string[];
  /** Size of the .onnx file and of the external data it refers to, in bytes. */
  readonly fileBytes: number;
}

/** A node to be added. */
export interface NodeSpec {
  readonly name: string;
  readonly domain?: string;
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** A model-local function to be added. */
export interface FunctionSpec {
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly nodes: readonly NodeSpec[];
  readonly opsets: ReadonlyMap<string, number>;
  readonly doc: string;
}

/**
 * Collects edits; the model it was made from is untouched. Edits are checked when `commit` builds the new model:
 * every value has one producer, every read value exists, no cycles.
 */
export interface ModelEditor {
  readonly model: Model;
  /** A value or node name that is still free, starting with `stem`. */
  uniqueName(stem: string): string;
  /** Adds a constant; its bytes are asked for when the model is saved or encoded. Name must be free. */
  addInitializer(tensor: TensorSource): string;
  /** Adds nodes; where in the list does not matter, `commit` sorts. */
  addNodes(nodes: readonly NodeSpec[]): void;
  /** Removes a node by name. Initializers and Constant nodes nobody reads any more go at `commit`. */
  removeNode(name: string): void;
  /** Drops an initializer (for example to make the value a graph input). */
  removeInitializer(name: string): void;
  /** Adds a graph input. */
  addInput(info: ValueInfo): void;
  /** Drops a graph input. */
  removeInput(name: string): void;
  /** Makes a value a graph output. */
  addOutput(info: ValueInfo): void;
  /** Drops a graph output; its value stays. */
  removeOutput(name: string): void;
  /** Adds a model-local function once; a second call with the same domain and name does nothing. */
  addFunction(fn: FunctionSpec): void;
  /** Imports an operator set unless the domain is already imported; raises the IR version when functions need it (8). */
  addOpset(domain: string, version: number): void;
  /** Sets an entry of the model's metadata. */
  setMetadata(key: string, value: string): void;
  /** Keeps only the nodes that the graph outputs need. */
  prune(): void;
  /** Checks the edits and builds the new model. */
  commit(): Model;
}
