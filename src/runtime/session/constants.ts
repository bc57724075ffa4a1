/**
 * Constants of a graph: initializers, Constant nodes, and whatever is computed from these alone.
 * Invariant: nothing is read before it is asked for, and only small results are kept, so that weights pass through
 * memory one at a time.
 */
import { elementCount } from "../../core/tensor.ts";
import type { TensorSource } from "../../onnx/types.ts";
import {
  type InferInput,
  NeedsValue,
  type Operator,
  type OperatorNode,
  type TensorType,
} from "./operator.ts";
import { type HostTensor, hostTensor, isStored, numbersOfBytes } from "./storage.ts";

/** Results up to this many elements are kept: scales and shapes that many nodes ask for. */
export const keptElements = 1 << 16;

export class Constants {
  readonly #sources: ReadonlyMap<string, TensorSource>;
  readonly #producers = new Map<string, { node: OperatorNode; operator: Operator }>();
  readonly #kept = new Map<string, HostTensor>();

  /** @param sources - initializers that no caller can override, and the values of Constant nodes. */
  constructor(sources: ReadonlyMap<string, TensorSource>) {
    this.#sources = sources;
  }

  /** Declares a node whose inputs are all constant; `operator` must have `compute`. */
  addNode(node: OperatorNode, operator: Operator): void {
    for (const output of node.outputs) if (output) this.#producers.set(output, { node, operator });
  }

  has(name: string): boolean {
    return this.#sources.has(name) || this.#producers.has(name);
  }

  /** The initializer itself, for those who read its bytes. */
  source(name: string): TensorSource | undefined {
    return this.#sources.get(name);
  }

  async get(name: string): Promise<HostTensor | undefined> {
    const kept = this.#kept.get(name);
    if (kept) return kept;
    const made = await this.#make(name);
    if (made && elementCount(made.shape) <= keptElements) this.#kept.set(name, made);
    return made;
  }

  /** Element type and shape, without computing a large constant. */
  async type(name: string): Promise<TensorType | undefined> {
    const source = this.#sources.get(name) ?? this.#kept.get(name);
    if (source) return { dtype: source.dtype, shape: source.shape };
    const producer = this.#producers.get(name);
    if (!producer) return undefined;
    const { node, operator } = producer;
    const inputs: (InferInput | undefined)[] = [];
    for (const input of node.inputs) {
      const type = input ? await this.type(input) : undefined;
      const isSmall = type !== undefined && elementCount(type.shape) <= keptElements;
      inputs.push(type && { ...type, known: isSmall ? await this.get(input) : undefined });
    }
    try {
      return operator.infer(node, inputs)[node.outputs.indexOf(name)];
    } catch (error) {
      if (!(error instanceof NeedsValue)) throw error;
      return this.get(name);
    }
  }

  async #make(name: string): Promise<HostTensor | undefined> {
    const source = this.#sources.get(name);
    if (source) {
      if (!isStored(source.dtype)) return undefined;
      const { dtype, shape } = source;
      return hostTensor(dtype, shape, numbersOfBytes(dtype, shape, await source.bytes()));
    }
    const producer = this.#producers.get(name);
    if (!producer) return undefined;
    const { node, operator } = producer;
    const inputs: (HostTensor | undefined)[] = [];
    for (const input of node.inputs) inputs.push(input ? await this.get(input) : undefined);
    const outputs = evaluate(node, operator, inputs);
    return outputs[node.outputs.indexOf(name)];
  }
}

/** Runs the JavaScript form of an operator on tensors outside the session's memory. */
export function evaluate(
  node: OperatorNode,
  operator: Operator,
  inputs: readonly (HostTensor | undefined)[],
): readonly (HostTensor | undefined)[] {
  const types = operator.infer(
    node,
    inputs.map((known) => known && { dtype: known.dtype, shape: known.shape, known }),
  );
  const first = inputs[0];
  if (operator.alias && first && types[0]) return [{ ...first, shape: types[0].shape }];
  const outputs = node.outputs.map((name, index) => {
    const type = name ? types[index] : undefined;
    return type && hostTensor(type.dtype, type.shape);
  });
  operator.compute?.(node, inputs, outputs);
  return outputs;
}
