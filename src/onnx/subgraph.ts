/**
 * What a subgraph (body of If, Loop, Scan) reads from outside, found without building a view of it.
 * Invariant: a name that the body defines anywhere is not captured; ONNX forbids shadowing.
 */
import { maxSubgraphDepth } from "./limits.ts";
import {
  attributeFields,
  graphFields,
  nodeFields,
  sparseTensorFields,
  tensorFields,
  valueInfoFields,
} from "./schema.ts";
import { badModel, nameOf, readFields, type WireRecord } from "./wire.ts";

export interface SubgraphScan {
  /** Outer values that the body, or a body inside it, reads; in order of first use. */
  readonly captures: readonly string[];
  /** Values that the body, or a body inside it, defines. */
  readonly defined: ReadonlySet<string>;
}

/**
 * Scans a GraphProto record of an attribute.
 *
 * @param depth - subgraphs around this one.
 * @throws bad-model - nested deeper than `maxSubgraphDepth`.
 */
export function scanSubgraph(graph: WireRecord, depth = 1): SubgraphScan {
  if (depth > maxSubgraphDepth) {
    const file = graph.source.label;
    const where = `byte ${graph.start}`;
    const message = `"${file}" nests subgraphs deeper than ${maxSubgraphDepth} at ${where}; protobuf readers refuse that. Flatten the control flow.`;
    throw badModel(file, message, where);
  }
  const own = new Set<string>();
  const nested = new Set<string>();
  const reads = new Set<string>();
  for (const part of readFields(graph)) {
    if (part.field === graphFields.input) own.add(nameIn(part, valueInfoFields.name));
    else if (part.field === graphFields.initializer) own.add(nameIn(part, tensorFields.name));
    else if (part.field === graphFields.output) reads.add(nameIn(part, valueInfoFields.name));
    else if (part.field === graphFields.sparseInitializer) own.add(sparseName(part));
    else if (part.field === graphFields.node) {
      for (const child of readFields(part)) {
        if (child.field === nodeFields.input) reads.add(nameOf(child));
        else if (child.field === nodeFields.output) own.add(nameOf(child));
        else if (child.field === nodeFields.attribute) {
          for (const body of bodiesOf(child)) {
            const scan = scanSubgraph(body, depth + 1);
            for (const name of scan.captures) reads.add(name);
            for (const name of scan.defined) nested.add(name);
          }
        }
      }
    }
  }
  const captures = [...reads].filter((name) => name !== "" && !own.has(name));
  own.delete("");
  return { captures, defined: new Set([...own, ...nested]) };
}

/** The GraphProto records of an attribute. */
export function* bodiesOf(attribute: WireRecord): Generator<WireRecord> {
  for (const child of readFields(attribute)) {
    if (child.field === attributeFields.graph || child.field === attributeFields.graphs)
      yield child;
  }
}

/** The text of the last field `field` of a message; "" when it is missing. */
export function nameIn(message: WireRecord, field: number): string {
  let name = "";
  for (const child of readFields(message)) if (child.field === field) name = nameOf(child);
  return name;
}

/** A sparse initializer is called like its values. */
export function sparseName(sparse: WireRecord): string {
  for (const child of readFields(sparse)) {
    if (child.field === sparseTensorFields.values) return nameIn(child, tensorFields.name);
  }
  return "";
}
