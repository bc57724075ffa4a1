/**
 * Nodes of a graph view: made from a NodeProto record or from a `NodeSpec`.
 * Invariant: attributes are decoded when first asked for; what ordering needs (values, captures) is known at once.
 */
import { decodeAttribute } from "./decode-attribute.ts";
import { encodeNode } from "./encode.ts";
import { type Content, originOf } from "./origin.ts";
import { checkTensors } from "./relocate.ts";
import { nodeFields as fields } from "./schema.ts";
import { bodiesOf, scanSubgraph } from "./subgraph.ts";
import type { FileContext } from "./tensor-data.ts";
import type { Attribute, Node, NodeSpec } from "./types.ts";
import { nameOf, readFields, requireWireType, type WireRecord } from "./wire.ts";

export interface GraphNode extends Node {
  /** Outer values that its subgraphs read. */
  readonly captures: readonly string[];
  /** Values that its subgraphs define; new names must avoid them. */
  readonly innerNames: ReadonlySet<string>;
  /** The NodeProto. */
  readonly content: Content;
}

/** A node as stored; its view name is given later, when all names of the graph are known. */
export type NodeHeader = Omit<GraphNode, "attributes" | "content">;

/**
 * Reads the header of a NodeProto and checks the tensors inside it.
 *
 * @throws bad-model - malformed records, damaged tensors, too deeply nested subgraphs.
 */
export function decodeNodeHeader(record: WireRecord, context: FileContext): NodeHeader {
  requireWireType(record, 2);
  let name = "";
  let opType = "";
  let domain = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  const captures = new Set<string>();
  const innerNames = new Set<string>();
  for (const child of readFields(record)) {
    if (child.field === fields.name) name = nameOf(child);
    else if (child.field === fields.opType) opType = nameOf(child);
    else if (child.field === fields.domain) domain = normalDomain(nameOf(child));
    else if (child.field === fields.input) inputs.push(nameOf(child));
    else if (child.field === fields.output) outputs.push(nameOf(child));
    else if (child.field === fields.attribute) {
      for (const body of bodiesOf(child)) {
        const scan = scanSubgraph(body);
        for (const value of scan.captures) captures.add(value);
        for (const value of scan.defined) innerNames.add(value);
      }
      checkTensors("attribute", child, context);
    }
  }
  return {
    name,
    domain,
    opType,
    inputs,
    outputs,
    captures: [...captures],
    innerNames,
  };
}

/** A stored node under its view name. */
export class StoredNode implements GraphNode {
  readonly name: string;
  readonly domain: string;
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly captures: readonly string[];
  readonly innerNames: ReadonlySet<string>;
  readonly content: { readonly record: WireRecord; readonly context: FileContext };
  #attributes: ReadonlyMap<string, Attribute> | undefined;

  constructor(name: string, header: NodeHeader, record: WireRecord, context: FileContext) {
    this.name = name;
    this.domain = header.domain;
    this.opType = header.opType;
    this.inputs = header.inputs;
    this.outputs = header.outputs;
    this.captures = header.captures;
    this.innerNames = header.innerNames;
    this.content = { record, context };
  }

  get attributes(): ReadonlyMap<string, Attribute> {
    this.#attributes ??= this.#decodeAttributes();
    return this.#attributes;
  }

  #decodeAttributes(): ReadonlyMap<string, Attribute> {
    const { record, context } = this.content;
    const attributes = new Map<string, Attribute>();
    for (const child of readFields(record)) {
      if (child.field === fields.attribute) attributes.set(...decodeAttribute(child, context));
    }
    return attributes;
  }
}

/** A node made in memory. */
export function specNode(spec: NodeSpec): GraphNode {
  const attributes = new Map(Object.entries(spec.attributes ?? {}));
  const captures = new Set<string>();
  const innerNames = new Set<string>();
  for (const value of attributes.values()) {
    if (value.type !== "graph" && value.type !== "opaque") continue;
    for (const name of value.captures) captures.add(name);
    const stored = originOf(value);
    if (!stored) continue;
    if ("piece" in stored) {
      for (const name of stored.names ?? []) innerNames.add(name);
      continue;
    }
    for (const body of bodiesOf(stored.record)) {
      for (const name of scanSubgraph(body).defined) innerNames.add(name);
    }
  }
  return {
    name: spec.name,
    domain: normalDomain(spec.domain ?? ""),
    opType: spec.opType,
    inputs: spec.inputs,
    outputs: spec.outputs,
    attributes,
    captures: [...captures],
    innerNames,
    content: { piece: encodeNode(spec) },
  };
}

/** "ai.onnx" is another spelling of the default domain. */
export function normalDomain(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

/**
 * One unique name per node: its own if it is the first to have it, else "<own or opType_index>" with a counter.
 *
 * Cost: O(nodes).
 */
export function uniqueNodeNames(
  nodes: readonly { readonly name: string; readonly opType: string }[],
): string[] {
  const taken = new Set(nodes.map(({ name }) => name));
  const given = new Set<string>();
  const counters = new Map<string, number>();
  return nodes.map(({ name, opType }, index) => {
    const isFree = name !== "" && !given.has(name);
    let unique = isFree ? name : name || `${opType}_${index}`;
    if (!isFree && taken.has(unique)) {
      const stem = unique;
      let counter = counters.get(stem) ?? 1;
      do unique = `${stem}_${++counter}`;
      while (taken.has(unique));
      counters.set(stem, counter);
    }
    taken.add(unique);
    given.add(unique);
    return unique;
  });
}
