/**
 * The bytes of a whole model as one piece, with every tensor inline or placed in an external data file.
 * Invariant: what was not edited and does not move is copied byte for byte, in the order of the file.
 */
import { encodeTensor } from "./encode.ts";
import { intField } from "./field.ts";
import { cacheLineBytes, minExternalBytes, pageAlignedBytes, pageBytes } from "./limits.ts";
import type { Content } from "./origin.ts";
import type { GraphPart, ModelPart } from "./parts.ts";
import {
  bytesPiece,
  concat,
  emptyPiece,
  messageField,
  type Piece,
  rangePiece,
  tensorPiece,
} from "./piece.ts";
import {
  inlineExternal,
  type Placement,
  relocateTensors,
  storedTensorContent,
} from "./relocate.ts";
import { graphFields, modelFields, type TensorCarrier } from "./schema.ts";
import type { ByteSource } from "./source.ts";
import { StoredTensor } from "./tensor-data.ts";
import type { TensorSource } from "./types.ts";

export interface ModelLayout {
  /** The .onnx file. */
  readonly model: Piece;
  /** The external data file; empty when nothing is external. */
  readonly data: Piece;
}

/** The content of a GraphProto with every tensor inline. */
export function graphContent(graph: readonly GraphPart[]): Piece {
  return concat(graph.map((part) => graphPiece(part, placeInline, placeInline)));
}

/** Decides where a tensor goes; undefined leaves a stored tensor as it is. */
type Place = (tensor: TensorSource) => Placement | undefined;

/** Lays a model out in one file. */
export function inlineLayout(
  parts: readonly ModelPart[],
  graph: readonly GraphPart[],
): ModelLayout {
  const model = modelPiece(parts, graph, placeInline, placeInline);
  return { model, data: emptyPiece };
}

const placeInline: Place = (tensor) =>
  tensor instanceof StoredTensor ? inlineExternal(tensor) : { kind: "inline" };

/**
 * Lays a model out in two files: initializers of `minExternalBytes` and more, and nested tensors that were external
 * already, go to the file `location`, in the order of the model. Tensors that shared bytes share them again.
 */
export function externalLayout(
  parts: readonly ModelPart[],
  graph: readonly GraphPart[],
  location: string,
): ModelLayout {
  const pieces: Piece[] = [];
  const offsets = new Map<string | ByteSource, Map<string, number>>();
  let end = 0;
  const placeOutside: Place = (tensor) => {
    if (tensor.dtype === "string" || tensor.byteLength < minExternalBytes)
      return placeInline(tensor);
    const shared = sharedBytes(tensor);
    const known = shared && (offsets.get(shared.file) ?? new Map<string, number>());
    let offset = shared && known?.get(shared.range);
    if (offset === undefined) {
      const alignment = tensor.byteLength >= pageAlignedBytes ? pageBytes : cacheLineBytes;
      offset = Math.ceil(end / alignment) * alignment;
      if (offset > end) pieces.push(bytesPiece(new Uint8Array(offset - end)));
      pieces.push(tensorPiece(tensor));
      end = offset + tensor.byteLength;
      if (shared && known) offsets.set(shared.file, known.set(shared.range, offset));
    }
    return { kind: "external", location, offset };
  };
  const placeNested: Place = (tensor) =>
    tensor instanceof StoredTensor && tensor.isExternal
      ? placeOutside(tensor)
      : placeInline(tensor);
  const model = modelPiece(parts, graph, placeOutside, placeNested);
  return { model, data: concat(pieces) };
}

/** Same for tensors that lie in the same bytes of the same external file. */
function sharedBytes(
  tensor: TensorSource,
): { readonly file: string | ByteSource; readonly range: string } | undefined {
  if (!(tensor instanceof StoredTensor) || !tensor.isExternal || !tensor.range) return undefined;
  const { source, start, end } = tensor.range;
  return { file: source.realPath ?? source, range: `${start} ${end}` };
}

function modelPiece(
  parts: readonly ModelPart[],
  graph: readonly GraphPart[],
  placeInitializer: Place,
  placeNested: Place,
): Piece {
  return concat(
    parts.map((part) => {
      if (part.kind === "graph") {
        const content = graph.map((inner) => graphPiece(inner, placeInitializer, placeNested));
        return messageField(modelFields.graph, concat(content));
      }
      if (part.kind === "irVersion" && "piece" in part.content) {
        return intField(modelFields.irVersion, part.version);
      }
      if (part.kind === "function") {
        return contentPiece(modelFields.functions, part.content, "function", placeNested);
      }
      if (part.kind === "training") {
        return contentPiece(modelFields.trainingInfo, part.content, "trainingInfo", placeNested);
      }
      const field = part.kind === "opset" ? modelFields.opsetImport : modelFields.metadata;
      return contentPiece(field, part.content);
    }),
  );
}

function graphPiece(part: GraphPart, placeInitializer: Place, placeNested: Place): Piece {
  switch (part.kind) {
    case "node":
      return contentPiece(graphFields.node, part.node.content, "node", placeNested);
    case "initializer": {
      const { tensor, content } = part;
      const placement = placeInitializer(tensor);
      if (content && "record" in content && tensor instanceof StoredTensor) {
        if (!placement) return rangePiece(content.record);
        return messageField(graphFields.initializer, storedTensorContent(tensor, placement));
      }
      return messageField(graphFields.initializer, encodeTensor(tensor, placement));
    }
    case "sparse":
      return contentPiece(graphFields.sparseInitializer, part.content, "sparseTensor", placeNested);
    case "annotation":
      return contentPiece(graphFields.quantizationAnnotation, part.content);
    case "name":
      return contentPiece(graphFields.name, part.content);
    case "input":
    case "output":
    case "valueInfo":
      return contentPiece(graphFields[part.kind], part.content);
    case "other":
      return contentPiece(0, part.content);
  }
}

/** A record as it was read, with nested external tensors placed anew, or new content under its field number. */
function contentPiece(
  field: number,
  content: Content,
  carrier?: TensorCarrier,
  placeNested?: Place,
): Piece {
  if ("piece" in content) return messageField(field, content.piece);
  const { record, context } = content;
  if (carrier && placeNested && !context.external.isEmpty) {
    const moved = relocateTensors(carrier, record, context, placeNested);
    if (moved) return messageField(record.field, moved);
  }
  return rangePiece(record);
}
