/**
 * The graph as the session rewrites it: nodes in topological order, with the edits that fusions make.
 * Invariant: every value has one producer; constants are never edited.
 */
import { type DType, dtypeFromCode } from "../../core/tensor.ts";
import type { Attribute, Model } from "../../onnx/types.ts";
import { Constants } from "./constants.ts";
import type { Operator, OperatorNode, SupportContext } from "./operator.ts";
import type { HostTensor } from "./storage.ts";

/** Domain of the nodes that fusions make; no file may use it. */
export const internalDomain = "bitloom.internal";

export interface NewNode {
  readonly opType: string;
  readonly domain?: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

export type OperatorOf = (node: OperatorNode, context: SupportContext) => Operator | undefined;

export class NodeGraph {
  readonly model: Model;
  readonly constants: Constants;
  readonly outputs: readonly string[];
  #nodes: OperatorNode[];
  #producers = new Map<string, OperatorNode>();
  #uses = new Map<string, OperatorNode[]>();
  #names = new Set<string>();

  /** @param operatorOf - the operator that runs a node here, or undefined. */
  constructor(model: Model, operatorOf: OperatorOf) {
    const { graph } = model;
    this.model = model;
    this.outputs = graph.outputs.map(({ name }) => name);
    const sources = new Map(
      [...graph.initializers].filter(([name]) => !graph.overridable.has(name)),
    );
    for (const { inputs, outputs } of graph.nodes) {
      for (const name of [...inputs, ...outputs]) this.#names.add(name);
    }
    for (const { name } of graph.inputs) this.#names.add(name);
    const nodes = graph.nodes.map((node): OperatorNode => {
      const { name, domain, opType, outputs, attributes } = node;
      const filler = attributes.get("value");
      const inputs = [...node.inputs];
      // Attributes that are tensors are read like initializers: ConstantOfShape gets its value as input 1.
      if (opType === "ConstantOfShape" && domain === "" && filler?.type === "tensor") {
        const value = this.uniqueName(`${name}/value`);
        sources.set(value, filler.value);
        inputs.push(value);
      }
      return {
        name,
        domain,
        opType,
        inputs,
        outputs,
        attributes,
        opset: model.opsets.get(domain) ?? 1,
      };
    });
    for (const { opType, domain, attributes, outputs } of nodes) {
      const value = attributes.get("value");
      if (opType === "Constant" && domain === "" && value?.type === "tensor") {
        sources.set(outputs[0], value.value);
      }
    }
    this.constants = new Constants(sources);
    for (const node of nodes) {
      const operator = operatorOf(node, this.supportContext(node));
      const isFoldable =
        operator !== undefined &&
        (operator.compute !== undefined || operator.alias === true) &&
        node.inputs.every((input) => input === "" || this.constants.has(input)) &&
        !(node.opType === "Constant" && this.constants.has(node.outputs[0]));
      if (isFoldable) this.constants.addNode(node, operator);
    }
    this.#nodes = nodes.filter(({ outputs }) => !outputs.some((name) => this.constants.has(name)));
    this.#index();
  }

  get nodes(): readonly OperatorNode[] {
    return this.#nodes;
  }

  isConstant(value: string): boolean {
    return this.constants.has(value);
  }

  constant(value: string): Promise<HostTensor | undefined> {
    return this.constants.get(value);
  }

  isOutput(value: string): boolean {
    return this.outputs.includes(value);
  }

  producer(value: string): OperatorNode | undefined {
    return this.#producers.get(value);
  }

  /** Nodes that read the value, each once for every input that it is. */
  uses(value: string): readonly OperatorNode[] {
    return this.#uses.get(value) ?? [];
  }

  /** The element type that the file declares, or that a Cast gives. */
  dtype(value: string): DType | undefined {
    const { graph } = this.model;
    const declared = this.constants.source(value)?.dtype ?? graph.valueInfo(value)?.dtype;
    if (declared !== undefined) return declared;
    const node = graph.producer(value);
    const to =
      node?.opType === "Cast" && node.domain === "" ? node.attributes.get("to") : undefined;
    return to?.type === "int" ? dtypeFromCode(to.value) : undefined;
  }

  supportContext({ inputs }: OperatorNode): SupportContext {
    return {
      dtype: (input) => (inputs[input] ? this.dtype(inputs[input]) : undefined),
      isConstant: (input) => this.constants.has(inputs[input] ?? ""),
    };
  }

  /** A value name that is still free. */
  uniqueName(stem: string): string {
    let name = stem;
    for (let count = 1; this.#names.has(name); count++) name = `${stem}_${count}`;
    this.#names.add(name);
    return name;
  }

  /**
   * Takes nodes out and puts others in their place, where the last of them stood; `added` must make every value of
   * `removed` that somebody else still reads.
   */
  replace(removed: readonly OperatorNode[], added: readonly NewNode[]): readonly OperatorNode[] {
    const gone = new Set(removed);
    const at = this.#nodes.findLastIndex((node) => gone.has(node));
    const made = added.map(
      ({ attributes = {}, domain = internalDomain, ...node }): OperatorNode => ({
        ...node,
        domain,
        attributes: new Map(Object.entries(attributes)),
        opset: this.model.opsets.get(domain) ?? 1,
      }),
    );
    const before = this.#nodes.slice(0, at + 1).filter((node) => !gone.has(node));
    const after = this.#nodes.slice(at + 1).filter((node) => !gone.has(node));
    this.#nodes = [...before, ...made, ...after];
    this.#index();
    return made;
  }

  /** Drops nodes whose outputs nobody reads. */
  prune(): void {
    for (;;) {
      const kept = this.#nodes.filter(({ outputs }) =>
        outputs.some(
          (value) => value !== "" && (this.isOutput(value) || this.uses(value).length > 0),
        ),
      );
      if (kept.length === this.#nodes.length) return;
      this.#nodes = kept;
      this.#index();
    }
  }

  #index(): void {
    this.#producers = new Map();
    this.#uses = new Map();
    for (const node of this.#nodes) {
      for (const value of node.outputs) if (value) this.#producers.set(value, node);
      for (const value of [...node.inputs, ...capturesOf(node)]) {
        const uses = this.#uses.get(value);
        if (!uses) this.#uses.set(value, [node]);
        else uses.push(node);
      }
    }
  }
}

/** Outer values that the bodies of a control-flow node read. */
export function capturesOf({ attributes }: OperatorNode): readonly string[] {
  return [...attributes.values()].flatMap((attribute) =>
    attribute.type === "graph" || attribute.type === "opaque" ? attribute.captures : [],
  );
}
