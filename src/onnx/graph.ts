/**
 * The view of a graph that the library works with, and the checks that make it one: one producer per value, every read
 * value exists, no cycles, unique node names. Built from parts, after opening and after each edit alike.
 */
import type { GraphNode } from "./node.ts";
import { neededBy, sortNodes } from "./order.ts";
import { type GraphPart, partsOf } from "./parts.ts";
import type { Graph, Node, TensorSource, ValueInfo } from "./types.ts";
import { badModel } from "./wire.ts";

type Use = { readonly node: Node; readonly index: number };

export class GraphView implements Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly GraphNode[];
  readonly initializers: ReadonlyMap<string, TensorSource>;
  readonly overridable: ReadonlySet<string>;
  /** Every value that the graph defines: inputs, initializers (sparse too), node outputs. */
  readonly defined: ReadonlySet<string>;
  readonly #infos: ReadonlyMap<string, ValueInfo>;
  readonly #producers: ReadonlyMap<string, GraphNode>;
  readonly #uses: ReadonlyMap<string, readonly Use[]>;
  readonly #captured: ReadonlySet<string>;
  readonly #nodesByName: ReadonlyMap<string, GraphNode>;

  /**
   * @param irVersion - before 4, every initializer had to be listed as an input, so that says nothing.
   * @throws bad-model - a check failed.
   */
  constructor(parts: readonly GraphPart[], irVersion: number, file: string) {
    const names = partsOf(parts, "name");
    this.name = names.at(-1)?.name ?? "";
    const allInputs = partsOf(parts, "input").map(({ info }) => info);
    this.outputs = partsOf(parts, "output").map(({ info }) => info);
    const nodes = partsOf(parts, "node").map(({ node }) => node);
    const tensors = partsOf(parts, "initializer").map(({ tensor }) => tensor);
    const sparse = partsOf(parts, "sparse").map(({ name }) => name);

    const invalid = (problem: string, where: string): Error =>
      badModel(file, `The graph of "${file}" is not valid: ${problem}.`, where);

    const inputNames = new Set<string>();
    for (const { name } of allInputs) {
      if (inputNames.has(name))
        throw invalid(`it lists the input "${name}" twice`, `input "${name}"`);
      inputNames.add(name);
    }
    const constants = new Set<string>();
    for (const name of [...tensors.map((tensor) => tensor.name), ...sparse]) {
      if (constants.has(name))
        throw invalid(`two initializers are called "${name}"`, `initializer "${name}"`);
      constants.add(name);
    }
    const defined = new Set([...inputNames, ...constants]);
    const producers = new Map<string, GraphNode>();
    const nodesByName = new Map<string, GraphNode>();
    for (const node of nodes) {
      if (nodesByName.has(node.name)) {
        throw invalid(`two nodes are called "${node.name}"; expected unique names`, node.name);
      }
      nodesByName.set(node.name, node);
      for (const value of node.outputs) {
        if (value === "") continue;
        if (defined.has(value)) {
          const other = producers.get(value)?.name;
          const first = other === undefined ? "an input or initializer" : `node "${other}"`;
          throw invalid(
            `node "${node.name}" produces "${value}", which ${first} already gives`,
            node.name,
          );
        }
        defined.add(value);
        producers.set(value, node);
      }
    }
    for (const node of nodes) {
      for (const value of neededBy(node)) {
        if (defined.has(value)) continue;
        throw invalid(`node "${node.name}" reads "${value}", which nothing produces`, node.name);
      }
    }
    for (const { name } of this.outputs) {
      if (!defined.has(name))
        throw invalid(`nothing produces its output "${name}"`, `output "${name}"`);
    }
    const order = sortNodes(nodes);
    if ("cycle" in order) {
      const { name } = order.cycle;
      throw invalid(`node "${name}" depends on its own output (a cycle)`, name);
    }

    this.nodes = order.sorted;
    this.defined = defined;
    this.initializers = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.inputs = allInputs.filter(({ name }) => !constants.has(name));
    this.overridable = new Set(
      irVersion < 4 ? [] : [...inputNames].filter((name) => constants.has(name)),
    );
    const inner = partsOf(parts, "valueInfo").map(({ info }) => info);
    this.#infos = new Map(
      [...inner, ...this.outputs, ...allInputs].map((info) => [info.name, info]),
    );
    this.#producers = producers;
    const uses = new Map<string, Use[]>();
    const captured = new Set<string>();
    for (const node of this.nodes) {
      node.inputs.forEach((value, index) => {
        if (value === "") return;
        const known = uses.get(value);
        if (known) known.push({ node, index });
        else uses.set(value, [{ node, index }]);
      });
      for (const value of node.captures) captured.add(value);
    }
    this.#uses = uses;
    this.#captured = captured;
    this.#nodesByName = nodesByName;
  }

  /** The node with this (view) name. */
  node(name: string): GraphNode | undefined {
    return this.#nodesByName.get(name);
  }

  valueInfo(value: string): ValueInfo | undefined {
    return this.#infos.get(value);
  }

  producer(value: string): GraphNode | undefined {
    return this.#producers.get(value);
  }

  uses(value: string): readonly Use[] {
    return this.#uses.get(value) ?? [];
  }

  readInSubgraph(value: string): boolean {
    return this.#captured.has(value);
  }
}
