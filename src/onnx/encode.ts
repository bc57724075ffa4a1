/**
 * New ONNX messages as pieces: tensors, types, nodes, functions. Not here: records that are copied unchanged.
 * Invariant: fields are written in ascending order and strings as UTF-8, so the same input gives the same bytes.
 */
import { BitloomError } from "../core/errors.ts";
import { dtypes } from "../core/tensor.ts";
import { intField, textField, write } from "./field.ts";
import { originOf } from "./origin.ts";
import { concat, emptyPiece, messageField, type Piece, rangePiece } from "./piece.ts";
import { dataContent, inlineExternal, type Placement, relocateTensors } from "./relocate.ts";
import {
  attributeFields,
  attributeTypes,
  dimensionFields,
  functionFields,
  nodeFields,
  opsetFields,
  shapeFields,
  tensorCarriers,
  tensorFields,
  tensorTypeFields,
  typeFields,
  valueInfoFields,
} from "./schema.ts";
import type { Attribute, FunctionSpec, NodeSpec, TensorSource, ValueInfo } from "./types.ts";
import { readFields } from "./wire.ts";

const inline: Placement = { kind: "inline" };

/** A TensorProto with its bytes inline or in an external file. */
export function encodeTensor(tensor: TensorSource, placement: Placement = inline): Piece {
  return concat([
    ...tensor.shape.map((dim) => intField(tensorFields.dims, dim)),
    intField(tensorFields.dataType, dtypes[tensor.dtype].code),
    textField(tensorFields.name, tensor.name),
    dataContent(tensor, placement),
  ]);
}

/** An OperatorSetIdProto. */
export function encodeOpset(domain: string, version: number): Piece {
  return concat([textField(opsetFields.domain, domain), intField(opsetFields.version, version)]);
}

/** A ValueInfoProto of a tensor type; a decoded one is written as it was read. */
export function encodeValueInfo(info: ValueInfo): Piece {
  const stored = originOf(info);
  if (stored) {
    if ("piece" in stored) return stored.piece;
    const { source, payload, end } = stored.record;
    return rangePiece({ source, start: payload, end });
  }
  const name = textField(valueInfoFields.name, info.name);
  if (info.dtype === undefined) return name;
  const tensorType = [intField(tensorTypeFields.elementType, dtypes[info.dtype].code)];
  if (info.shape !== undefined) {
    const dimensions = info.shape.map((dim) =>
      messageField(
        shapeFields.dimension,
        typeof dim === "number"
          ? intField(dimensionFields.value, dim)
          : dim === undefined
            ? emptyPiece
            : textField(dimensionFields.parameter, dim),
      ),
    );
    tensorType.push(messageField(tensorTypeFields.shape, concat(dimensions)));
  }
  const type = messageField(typeFields.tensor, concat(tensorType));
  return concat([name, messageField(valueInfoFields.type, type)]);
}

/** A NodeProto. */
export function encodeNode(node: NodeSpec): Piece {
  const attributes = Object.entries(node.attributes ?? {});
  return concat([
    ...node.inputs.map((name) => textField(nodeFields.input, name)),
    ...node.outputs.map((name) => textField(nodeFields.output, name)),
    textField(nodeFields.name, node.name),
    textField(nodeFields.opType, node.opType),
    ...attributes.map(([name, value]) =>
      messageField(nodeFields.attribute, encodeAttribute(name, value, node.name)),
    ),
    ...(node.domain ? [textField(nodeFields.domain, node.domain)] : []),
  ]);
}

function encodeAttribute(name: string, value: Attribute, node: string): Piece {
  const fields = attributeFields;
  const label = textField(fields.name, name);
  const stored = originOf(value);
  if (stored) {
    if ("piece" in stored) return concat([label, stored.piece]);
    const { context } = stored;
    const others = [...readFields(stored.record)].filter(({ field }) => field !== fields.name);
    return concat([
      label,
      ...others.map((record) => {
        const carrier = tensorCarriers.attribute[record.field];
        const inlined = carrier && relocateTensors(carrier, record, context, inlineExternal);
        return inlined ? messageField(record.field, inlined) : rangePiece(record);
      }),
    ]);
  }
  switch (value.type) {
    case "float":
      return concat([
        label,
        write((writer) => writer.tag(fields.float, 5).float(value.value)),
        intField(fields.type, attributeTypes.float),
      ]);
    case "int":
      return concat([
        label,
        intField(fields.int, value.value),
        intField(fields.type, attributeTypes.int),
      ]);
    case "string":
      return concat([
        label,
        textField(fields.string, value.value),
        intField(fields.type, attributeTypes.string),
      ]);
    case "tensor":
      return concat([
        label,
        messageField(fields.tensor, encodeTensor(value.value)),
        intField(fields.type, attributeTypes.tensor),
      ]);
    case "floats":
      return concat([
        label,
        write((writer) => {
          for (const item of value.value) writer.tag(fields.floats, 5).float(item);
        }),
        intField(fields.type, attributeTypes.floats),
      ]);
    case "ints":
      return concat([
        label,
        write((writer) => {
          for (const item of value.value) writer.tag(fields.ints, 0).int64(item);
        }),
        intField(fields.type, attributeTypes.ints),
      ]);
    case "strings":
      return concat([
        label,
        ...value.value.map((item) => textField(fields.strings, item)),
        intField(fields.type, attributeTypes.strings),
      ]);
    case "reference":
      return concat([
        label,
        intField(fields.type, attributeTypes[value.of]),
        textField(fields.reference, value.value),
      ]);
    case "graph":
    case "opaque":
      throw new BitloomError(
        "unsupported",
        `Attribute "${name}" of the new node "${node}" is a copy that lost its content: ${value.type} attributes can only be passed on as they were read. Pass the same attribute object.`,
        { what: `${value.type} attribute made in memory`, node },
      );
  }
}

/** A FunctionProto; needs IR version 8. */
export function encodeFunction(fn: FunctionSpec): Piece {
  return concat([
    textField(functionFields.name, fn.name),
    ...fn.inputs.map((name) => textField(functionFields.input, name)),
    ...fn.outputs.map((name) => textField(functionFields.output, name)),
    ...fn.attributes.map((name) => textField(functionFields.attribute, name)),
    ...fn.nodes.map((node) => messageField(functionFields.node, encodeNode(node))),
    textField(functionFields.doc, fn.doc),
    ...[...fn.opsets].map(([domain, version]) =>
      messageField(functionFields.opsetImport, encodeOpset(domain, version)),
    ),
    textField(functionFields.domain, fn.domain),
  ]);
}
