/**
 * Moves the data of stored tensors inline or into an external file, wherever in a message they are nested.
 * Invariant: everything but the data fields of a moved tensor is copied byte for byte; a message in which nothing moves
 * is reported as unchanged and copied whole.
 */
import { entryContent, intField } from "./field.ts";
import { maxMessageDepth } from "./limits.ts";
import { concat, messageField, type Piece, rangePiece, tensorPiece } from "./piece.ts";
import { tensorFields as fields, type TensorCarrier, tensorCarriers } from "./schema.ts";
import { decodeTensor, type FileContext, type StoredTensor } from "./tensor-data.ts";
import type { TensorSource } from "./types.ts";
import { badModel, readFields, type WireRecord } from "./wire.ts";

/** Where the bytes of a tensor go. */
export type Placement =
  | { readonly kind: "inline" }
  | { readonly kind: "external"; readonly location: string; readonly offset: number };

/** Decides for one tensor; undefined leaves it as it is stored. */
export type Place = (tensor: StoredTensor) => Placement | undefined;

export const inlineExternal: Place = (tensor) =>
  tensor.isExternal ? { kind: "inline" } : undefined;

const dataFields: ReadonlySet<number> = new Set([
  fields.floatData,
  fields.int32Data,
  fields.stringData,
  fields.int64Data,
  fields.rawData,
  fields.doubleData,
  fields.uint64Data,
  fields.externalData,
  fields.dataLocation,
]);

/**
 * The content of a message with its tensors placed anew.
 *
 * @returns undefined when no tensor inside moves.
 */
export function relocateTensors(
  carrier: TensorCarrier,
  record: WireRecord,
  context: FileContext,
  place: Place,
  depth = 0,
): Piece | undefined {
  if (depth > maxMessageDepth) {
    const where = `byte ${record.start}`;
    const message = `"${context.file}" nests messages deeper than ${maxMessageDepth} at ${where}; protobuf readers refuse that. Flatten the control flow.`;
    throw badModel(context.file, message, where);
  }
  if (carrier === "tensor") {
    const tensor = decodeTensor(record, context);
    const placement = place(tensor);
    return placement && storedTensorContent(tensor, placement);
  }
  let changed = false;
  const parts: Piece[] = [];
  for (const child of readFields(record)) {
    const inner = tensorCarriers[carrier][child.field];
    const moved = inner && relocateTensors(inner, child, context, place, depth + 1);
    if (moved) changed = true;
    parts.push(moved ? messageField(child.field, moved) : rangePiece(child));
  }
  return changed ? concat(parts) : undefined;
}

/** A TensorProto of a file with its data placed anew; name, dims and unknown fields stay. */
export function storedTensorContent(tensor: StoredTensor, placement: Placement): Piece {
  const kept = [...readFields(tensor.record)].filter(({ field }) => !dataFields.has(field));
  return concat([...kept.map(rangePiece), dataContent(tensor, placement)]);
}

/** The fields of a TensorProto that hold or point to its data. */
export function dataContent(tensor: TensorSource, placement: Placement): Piece {
  if (placement.kind === "inline") return messageField(fields.rawData, tensorPiece(tensor));
  const { location, offset } = placement;
  return concat([
    ...[
      ["location", location],
      ["offset", String(offset)],
      ["length", String(tensor.byteLength)],
    ].map(([key, value]) => messageField(fields.externalData, entryContent(key, value))),
    intField(fields.dataLocation, 1),
  ]);
}

/** Walks every tensor nested in a message, decoding and so checking each. */
export function checkTensors(
  carrier: TensorCarrier,
  record: WireRecord,
  context: FileContext,
): void {
  relocateTensors(carrier, record, context, () => undefined);
}
