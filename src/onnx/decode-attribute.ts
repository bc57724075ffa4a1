/**
 * Decoding node attributes. Invariant: a decoded attribute remembers its record, so a node rebuilt from it loses
 * nothing, not even kinds that the view does not interpret.
 */
import { withOrigin } from "./origin.ts";
import { attributeFields as fields, attributeTypes as types } from "./schema.ts";
import { scanSubgraph } from "./subgraph.ts";
import { decodeTensor, type FileContext } from "./tensor-data.ts";
import type { Attribute } from "./types.ts";
import {
  badModel,
  fixedBytesOf,
  integersOf,
  nameOf,
  readFields,
  textOf,
  type WireRecord,
} from "./wire.ts";

/** Decodes an AttributeProto; a tensor inside stays unread. */
export function decodeAttribute(record: WireRecord, context: FileContext): [string, Attribute] {
  const { name, value } = decodeValue(record, context);
  return [name, withOrigin(value, { record, context })];
}

function decodeValue(record: WireRecord, context: FileContext): { name: string; value: Attribute } {
  let name = "";
  let type = 0;
  let reference = "";
  let float = 0;
  let int = 0;
  let text = "";
  let tensor: WireRecord | undefined;
  const floats: number[] = [];
  const ints: number[] = [];
  const strings: string[] = [];
  const captures: string[] = [];
  let seen = 0;

  for (const child of readFields(record)) {
    if (child.field === fields.name) name = nameOf(child);
    else if (child.field === fields.type) type = child.value;
    else if (child.field === fields.reference) reference = nameOf(child);
    else if (child.field === fields.float) float = floatsOf(child)[0] ?? 0;
    else if (child.field === fields.int) int = child.value;
    else if (child.field === fields.string) text = textOf(child);
    else if (child.field === fields.tensor) tensor = child;
    else if (child.field === fields.floats) for (const item of floatsOf(child)) floats.push(item);
    else if (child.field === fields.ints) for (const item of integersOf(child)) ints.push(item);
    else if (child.field === fields.strings) strings.push(textOf(child));
    else if (child.field === fields.graph || child.field === fields.graphs) {
      captures.push(...scanSubgraph(child).captures);
    }
    seen = typeOfField(child.field) || seen;
  }
  // IR 1 had no `type`: the field that is set tells.
  if (type === 0 && reference === "") type = seen;

  const value = ((): Attribute => {
    if (reference !== "") {
      if (type === types.int) return { type: "reference", value: reference, of: "int" };
      if (type === types.float) return { type: "reference", value: reference, of: "float" };
      if (type === types.ints) return { type: "reference", value: reference, of: "ints" };
      return { type: "opaque", captures: [] };
    }
    if (type === types.float) return { type: "float", value: float };
    if (type === types.int) return { type: "int", value: int };
    if (type === types.string) return { type: "string", value: text };
    if (type === types.floats) return { type: "floats", value: floats };
    if (type === types.ints) return { type: "ints", value: ints };
    if (type === types.strings) return { type: "strings", value: strings };
    if (type === types.graph) return { type: "graph", captures };
    if (type === types.tensor) {
      if (tensor) return { type: "tensor", value: decodeTensor(tensor, context) };
      const message = `"${context.file}" has a tensor attribute "${name}" without a tensor. Export the model again.`;
      throw badModel(context.file, message, `attribute "${name}"`);
    }
    return { type: "opaque", captures: [...new Set(captures)] };
  })();
  return { name, value };
}

function typeOfField(field: number): number {
  if (field === fields.float) return types.float;
  if (field === fields.int) return types.int;
  if (field === fields.string) return types.string;
  if (field === fields.tensor) return types.tensor;
  if (field === fields.graph) return types.graph;
  if (field === fields.floats) return types.floats;
  if (field === fields.ints) return types.ints;
  if (field === fields.strings) return types.strings;
  return 0;
}

function floatsOf(record: WireRecord): Float32Array {
  return new Float32Array(fixedBytesOf(record, 4).slice().buffer);
}
