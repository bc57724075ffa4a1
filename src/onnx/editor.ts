/**
 * Collects edits of a model and builds the edited model. Not here: the checks of a valid graph (`graph.ts`).
 * Invariant: the edited model shares every untouched record with the old one, so nothing unknown gets lost.
 */
import type { BitloomError } from "../core/errors.ts";
import { encodeFunction, encodeOpset, encodeValueInfo } from "./encode.ts";
import { entryContent } from "./field.ts";
import { StoredModel, storedModelOf } from "./model.ts";
import { type GraphNode, normalDomain, specNode } from "./node.ts";
import { neededBy, nodesFor, sortNodes } from "./order.ts";
import { type GraphPart, type ModelPart, partsOf } from "./parts.ts";
import { emptyPiece } from "./piece.ts";
import type {
  FunctionSpec,
  Model,
  ModelEditor,
  NodeSpec,
  TensorSource,
  ValueInfo,
} from "./types.ts";
import { badModel } from "./wire.ts";

/** Model-local functions came with IR version 8. */
const functionsIrVersion = 8;
/** From IR version 4 on, an initializer that is listed as an input may be overridden by the caller. */
const overridableIrVersion = 4;

/** Starts editing; the model itself stays as it is. */
export function editModel(model: Model): ModelEditor {
  return new Editor(storedModelOf(model));
}

class Editor implements ModelEditor {
  readonly model: StoredModel;
  readonly #file: string;
  readonly #removedNodes = new Set<GraphNode>();
  readonly #removedInitializers = new Set<string>();
  readonly #removedInputs = new Set<string>();
  readonly #removedOutputs = new Set<string>();
  #nodes: GraphNode[] = [];
  #initializers: TensorSource[] = [];
  #inputs: ValueInfo[] = [];
  #outputs: ValueInfo[] = [];
  readonly #functions = new Map<string, FunctionSpec>();
  readonly #opsets = new Map<string, number>();
  readonly #metadata = new Map<string, string>();
  #names: Set<string> | undefined;
  #prunes = false;

  constructor(model: StoredModel) {
    this.model = model;
    this.#file = model.from.label;
  }

  uniqueName(stem: string): string {
    this.#names ??= namesOf(this.model);
    let name = stem;
    for (let counter = 2; this.#names.has(name) || name === ""; counter++)
      name = `${stem}_${counter}`;
    this.#names.add(name);
    return name;
  }

  addInitializer(tensor: TensorSource): string {
    this.#initializers.push(tensor);
    this.#names?.add(tensor.name);
    return tensor.name;
  }

  addNodes(nodes: readonly NodeSpec[]): void {
    for (const spec of nodes) {
      if (spec.name === "")
        throw this.#mistake("a new node has no name; expected a unique one", "node");
      this.#nodes.push(specNode(spec));
      for (const name of [spec.name, ...spec.outputs]) this.#names?.add(name);
    }
  }

  removeNode(name: string): void {
    const stored = this.model.graph.node(name);
    if (stored && !this.#removedNodes.has(stored)) {
      this.#removedNodes.add(stored);
      return;
    }
    const kept = this.#nodes.filter((node) => node.name !== name);
    if (kept.length === this.#nodes.length) throw this.#missing("node", name);
    this.#nodes = kept;
  }

  removeInitializer(name: string): void {
    if (this.model.graph.initializers.has(name) && !this.#removedInitializers.has(name)) {
      this.#removedInitializers.add(name);
      this.#removedInputs.add(name);
      return;
    }
    const kept = this.#initializers.filter((tensor) => tensor.name !== name);
    if (kept.length === this.#initializers.length) throw this.#missing("initializer", name);
    this.#initializers = kept;
  }

  addInput(info: ValueInfo): void {
    this.#inputs.push(info);
    this.#names?.add(info.name);
  }

  removeInput(name: string): void {
    const stored = partsOf(this.model.graphParts, "input").some(({ info }) => info.name === name);
    if (stored && !this.#removedInputs.has(name)) {
      this.#removedInputs.add(name);
      return;
    }
    const kept = this.#inputs.filter((info) => info.name !== name);
    if (kept.length === this.#inputs.length) throw this.#missing("input", name);
    this.#inputs = kept;
  }

  addOutput(info: ValueInfo): void {
    this.#outputs.push(info);
  }

  removeOutput(name: string): void {
    const stored = this.model.graph.outputs.some((info) => info.name === name);
    if (stored && !this.#removedOutputs.has(name)) {
      this.#removedOutputs.add(name);
      return;
    }
    const kept = this.#outputs.filter((info) => info.name !== name);
    if (kept.length === this.#outputs.length) throw this.#missing("output", name);
    this.#outputs = kept;
  }

  addFunction(fn: FunctionSpec): void {
    const key = `${fn.domain}::${fn.name}`;
    if (!this.model.functions.includes(key) && !this.#functions.has(key))
      this.#functions.set(key, fn);
  }

  addOpset(domain: string, version: number): void {
    const normal = normalDomain(domain);
    if (!this.model.opsets.has(normal) && !this.#opsets.has(normal))
      this.#opsets.set(normal, version);
  }

  setMetadata(key: string, value: string): void {
    this.#metadata.set(key, value);
  }

  prune(): void {
    this.#prunes = true;
  }

  commit(): Model {
    const { graph, graphParts } = this.model;
    const outputs = [
      ...graph.outputs.map(({ name }) => name).filter((name) => !this.#removedOutputs.has(name)),
      ...this.#outputs.map(({ name }) => name),
    ];
    const all = [...partsOf(graphParts, "node").map(({ node }) => node), ...this.#nodes];
    const present = all.filter((node) => !this.#removedNodes.has(node));
    const live = this.#prunes ? nodesFor(outputs, present) : new Set(present);
    const unread = this.#unreadConstants(all, live, outputs);
    const nodes = this.#sorted(all.filter((node) => live.has(node) && !unread.nodes.has(node)));
    const parts = this.#modelParts(nodes);
    const edited = this.#graphParts(nodes, unread.initializers);
    return new StoredModel(this.model.from, parts, edited, undefined);
  }

  /** Constants that removed nodes read and nobody reads now. */
  #unreadConstants(
    all: readonly GraphNode[],
    live: ReadonlySet<GraphNode>,
    outputs: readonly string[],
  ): { readonly initializers: ReadonlySet<string>; readonly nodes: ReadonlySet<GraphNode> } {
    const { graph } = this.model;
    const read = new Set([...outputs, ...[...live].flatMap(neededBy)]);
    const candidates = all.filter((node) => !live.has(node)).flatMap(neededBy);
    const initializers = new Set<string>();
    const nodes = new Set<GraphNode>();
    for (const value of candidates) {
      if (read.has(value)) continue;
      const isConstant = graph.initializers.has(value) && !graph.overridable.has(value);
      if (isConstant) initializers.add(value);
      const producer = graph.producer(value);
      if (producer?.opType === "Constant" && producer.domain === "") nodes.add(producer);
    }
    return { initializers, nodes };
  }

  #sorted(nodes: readonly GraphNode[]): readonly GraphNode[] {
    const order = sortNodes(nodes);
    if ("sorted" in order) return order.sorted;
    const { name } = order.cycle;
    throw this.#mistake(`node "${name}" depends on its own output (a cycle)`, name);
  }

  #irVersion(): number {
    const { graph, irVersion } = this.model;
    const constants = new Set([
      ...graph.initializers.keys(),
      ...this.#initializers.map((t) => t.name),
    ]);
    const overrides = this.#inputs.some(({ name }) => constants.has(name));
    return Math.max(
      irVersion,
      this.#functions.size > 0 ? functionsIrVersion : 0,
      overrides ? overridableIrVersion : 0,
    );
  }

  #modelParts(nodes: readonly GraphNode[]): ModelPart[] {
    const { model } = this;
    const opsets = new Map(this.#opsets);
    const wants = (domain: string, version: number): void => {
      const normal = normalDomain(domain);
      if (!model.opsets.has(normal) && !opsets.has(normal)) opsets.set(normal, version);
    };
    for (const fn of this.#functions.values()) {
      wants(fn.domain, 1);
      for (const [domain, version] of fn.opsets) wants(domain, version);
    }
    const added = new Set(this.#nodes);
    for (const { name, domain, opType } of nodes.filter((node) => added.has(node))) {
      if (model.opsets.has(domain) || opsets.has(domain)) continue;
      const problem = `node "${name}" (${opType}) is of the domain "${domain}", which is not imported; call addOpset first`;
      throw this.#mistake(problem, name);
    }

    const irVersion = this.#irVersion();
    const kept = model.parts.flatMap((part): ModelPart[] => {
      if (part.kind === "metadata" && this.#metadata.has(part.key)) return [];
      if (part.kind !== "irVersion" || part.version === irVersion) return [part];
      return [{ kind: "irVersion", version: irVersion, content: { piece: emptyPiece } }];
    });
    return [
      ...kept,
      ...[...opsets].map(([domain, version]): ModelPart => {
        return { kind: "opset", domain, version, content: { piece: encodeOpset(domain, version) } };
      }),
      ...[...this.#metadata].map(([key, value]): ModelPart => {
        return { kind: "metadata", key, value, content: { piece: entryContent(key, value) } };
      }),
      ...[...this.#functions].map(([key, fn]): ModelPart => {
        return { kind: "function", key, content: { piece: encodeFunction(fn) } };
      }),
    ];
  }

  #graphParts(nodes: readonly GraphNode[], unread: ReadonlySet<string>): GraphPart[] {
    const { graph, graphParts, irVersion: oldVersion } = this.model;
    const gone = (name: string): boolean => this.#removedInitializers.has(name) || unread.has(name);
    // Listed initializers are constants before IR 4 and would become overridable: take them off the list.
    const unlists = oldVersion < overridableIrVersion && this.#irVersion() >= overridableIrVersion;
    const kept = graphParts.filter((part) => {
      if (part.kind === "initializer") return !gone(part.tensor.name);
      if (part.kind === "output") return !this.#removedOutputs.has(part.info.name);
      if (part.kind !== "input") return true;
      const { name } = part.info;
      if (this.#removedInputs.has(name) || unread.has(name)) return false;
      return !(unlists && graph.initializers.has(name));
    });
    const added: GraphPart[] = [
      ...this.#initializers.map((tensor): GraphPart => ({ kind: "initializer", tensor })),
      ...this.#inputs.map((info) => valuePart("input", info)),
      ...this.#outputs.map((info) => valuePart("output", info)),
    ];
    const defined = definedBy(nodes, [...kept, ...added]);
    const vanished = (name: string): boolean => graph.defined.has(name) && !defined.has(name);
    const rest = [...kept, ...added].filter((part) => {
      if (part.kind === "valueInfo") return !vanished(part.info.name);
      return part.kind !== "annotation" || !vanished(part.name);
    });
    const first = rest.findIndex((part) => part.kind === "node");
    const others = rest.filter((part) => part.kind !== "node");
    const at = first === -1 ? 0 : first;
    const nodeParts = nodes.map((node): GraphPart => ({ kind: "node", node }));
    return [...others.slice(0, at), ...nodeParts, ...others.slice(at)];
  }

  #missing(kind: string, name: string): BitloomError {
    return this.#mistake(`there is no ${kind} "${name}" to remove`, `${kind} "${name}"`);
  }

  #mistake(problem: string, where: string): BitloomError {
    return badModel(this.#file, `Cannot edit "${this.#file}": ${problem}.`, where);
  }
}

function valuePart(kind: "input" | "output", info: ValueInfo): GraphPart {
  return { kind, info, content: { piece: encodeValueInfo(info) } };
}

function definedBy(nodes: readonly GraphNode[], parts: readonly GraphPart[]): Set<string> {
  const defined = new Set(nodes.flatMap(({ outputs }) => outputs));
  for (const part of parts) {
    if (part.kind === "initializer") defined.add(part.tensor.name);
    else if (part.kind === "input") defined.add(part.info.name);
    else if (part.kind === "sparse") defined.add(part.name);
  }
  return defined;
}

/** Every name in use: values, nodes, and those inside subgraphs, which must not be shadowed. */
function namesOf(model: StoredModel): Set<string> {
  const { graph } = model;
  const names = new Set(graph.defined);
  for (const node of graph.nodes) {
    names.add(node.name);
    for (const name of node.innerNames) names.add(name);
    for (const value of neededBy(node)) names.add(value);
  }
  return names;
}
