/**
 * What an operator is to the session, and what it sees of the node and of the session. A new operator is one file in
 * `operators/` and one line in its registry.
 *
 * An operator has a slow, complete form in JavaScript (`compute`), a fast one on kernels (`compile`), or both. The
 * session uses `compute` for constants, for shape arithmetic (whatever is known from the shapes of the feeds), and for
 * what `compile` declines; `compile` for everything else.
 */

import type { Fields, Kernel, Tiers } from "../../../native/index.ts";
import type { DType } from "../../core/tensor.ts";
import type { Task } from "../../engine/task.ts";
import type { Attribute } from "../../onnx/types.ts";
import type { HostTensor } from "./storage.ts";

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** An input while shapes are worked out. */
export interface InferInput extends TensorType {
  /** Its numbers, when they do not depend on the contents of the feeds. */
  readonly known: HostTensor | undefined;
}

/** A tensor in the session's memory. */
export interface Operand extends TensorType {
  /** Byte address. */
  readonly pointer: number;
  readonly elements: number;
  /**
   * Of a cache that grows in its place: how many rows there is room for. Then the second to last of its four
   * dimensions is this long in memory, and only its first rows, as many as `shape` says, hold numbers.
   */
  readonly room?: number | undefined;
}

/** An output that is an input with more rows (second to last dimension) behind it. */
export interface Append {
  readonly input: number;
  readonly output: number;
}

/** A node of the graph, or one that a fusion made. */
export interface OperatorNode {
  readonly name: string;
  readonly domain: string; // "" for ai.onnx
  readonly opType: string;
  readonly inputs: readonly string[]; // "" = left out
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Version of the node's domain that the model imports. */
  readonly opset: number;
}

/** What an operator may ask before anything runs. */
export interface SupportContext {
  /** The element type that the file declares for an input, if it declares one. */
  dtype(input: number): DType | undefined;
  /** True when the input is an initializer or computed from initializers only. */
  isConstant(input: number): boolean;
}

/** Asks for the contents of an input; the session runs the graph up to there and asks again. */
export class NeedsValue extends Error {
  readonly input: number;
  constructor(input: number) {
    super(`needs the value of input ${input}`);
    this.input = input;
  }
}

/** The numbers of an input that `infer` cannot do without. */
export function contentsOf(inputs: readonly (InferInput | undefined)[], index: number): HostTensor {
  const known = inputs[index]?.known;
  if (!known) throw new NeedsValue(index);
  return known;
}

export interface Operator {
  /** Why the node cannot run here, or undefined when it can; such nodes go to the fallback. */
  refuses?(node: OperatorNode, context: SupportContext): string | undefined;
  /** Types of the outputs; undefined for those that the node leaves out. */
  infer(
    node: OperatorNode,
    inputs: readonly (InferInput | undefined)[],
  ): readonly (TensorType | undefined)[];
  /** Fills the outputs, which are zeroed or hold old numbers. */
  compute?(
    node: OperatorNode,
    inputs: readonly (HostTensor | undefined)[],
    outputs: readonly (HostTensor | undefined)[],
  ): void;
  /** Prepares the fast form, once, when the session opens; undefined when this node has none. */
  compile?(
    node: OperatorNode,
    context: CompileContext,
  ): CompiledStep | undefined | Promise<CompiledStep | undefined>;
  /** Output 0 is input 0 with another shape: nothing to do at run time. */
  readonly alias?: boolean;
  /** The outputs follow from the types of the inputs (Shape, Size): `compute` reads no numbers. */
  readonly readsTypesOnly?: boolean;
  /** What the compiled form can append in place: when both lie at one address, it leaves the rows of the input alone. */
  appends?(node: OperatorNode): readonly Append[];
  /** Inputs that the compiled form reads where they lie with `room`. */
  readonly readsRoom?: readonly number[];
  /** Inputs whose memory output 0 may take over, when this node is the last to read them and sizes agree. */
  readonly inPlace?: readonly number[];
}

/** The fast form of one node. */
export interface CompiledStep {
  /** Inputs that the step has taken over in a layout of its own: not needed in memory. */
  readonly packed?: readonly number[];
  /** False when the step cannot handle these types; the session then uses `compute`. Default: it can. */
  fits?(
    inputs: readonly (TensorType | undefined)[],
    outputs: readonly (TensorType | undefined)[],
  ): boolean;
  /** Bytes of memory that it needs while it runs. */
  workspaceBytes?(
    inputs: readonly (TensorType | undefined)[],
    outputs: readonly (TensorType | undefined)[],
  ): number;
  /** Called when shapes or addresses have changed: fills tasks, so that `run` has nothing left to work out. */
  bind(
    inputs: readonly (Operand | undefined)[],
    outputs: readonly (Operand | undefined)[],
    workspace: number,
  ): void;
  run(): void;
}

export interface CompileContext extends SupportContext {
  /** "exact" keeps int16 activations; "fast" may use int8 ones. */
  readonly precision: "exact" | "fast";
  /** What this engine runs correctly and fast; see `activationTypeFor`. */
  readonly tiers: Tiers;
  /** Numbers of a constant input; undefined when it is none. Large ones are computed anew each time they are asked for. */
  constant(input: number): Promise<HostTensor | undefined>;
  /** The raw bytes of an initializer input, as the file holds them; undefined for computed constants. */
  initializerBytes(input: number): Promise<Uint8Array | undefined>;
  /** Memory that lives as long as the session. */
  reserve(byteLength: number): {
    readonly pointer: number;
    readonly bytes: Uint8Array<ArrayBuffer>;
  };
  /** A task of this kernel; the kernel is compiled when all nodes are. */
  task<F extends Fields>(kernel: Kernel<F>): Task<F>;
  /** The session's memory as bytes, as it is now: it may move when it grows, so never keep it. */
  memory(): Uint8Array<ArrayBuffer>;
  /** Equal `key`s share one value for the whole session: packed weights that two nodes read. */
  shared<T>(key: string, make: () => Promise<T>): Promise<T>;
}
