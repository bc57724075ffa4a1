/**
 * From the bytes of a file to parts. Reads names, types and node headers; payloads of weights stay unread.
 */
import type { ExternalFiles } from "./external.ts";
import {
  decodeNodeHeader,
  type NodeHeader,
  normalDomain,
  StoredNode,
  uniqueNodeNames,
} from "./node.ts";
import type { Content } from "./origin.ts";
import type { GraphPart, ModelPart } from "./parts.ts";
import { checkTensors } from "./relocate.ts";
import {
  annotationFields,
  entryFields,
  functionFields,
  graphFields,
  modelFields,
  opsetFields,
} from "./schema.ts";
import type { ByteSource } from "./source.ts";
import { nameIn, sparseName } from "./subgraph.ts";
import { decodeTensor, type FileContext } from "./tensor-data.ts";
import { decodeValueInfo } from "./value-info.ts";
import {
  badModel,
  nameOf,
  readFields,
  readRecords,
  requireWireType,
  type WireRecord,
} from "./wire.ts";

export interface ParsedModel {
  readonly parts: readonly ModelPart[];
  readonly graphParts: readonly GraphPart[];
}

/**
 * Indexes a ModelProto.
 *
 * @param external - opens the external data that the model refers to.
 * @throws bad-model - not a readable ONNX model.
 */
export function parseModel(source: ByteSource, external: ExternalFiles): ParsedModel {
  const file = source.label;
  if (source.size === 0) {
    throw badModel(
      file,
      `"${file}" is empty; expected an ONNX model. Check the download or export.`,
    );
  }
  const context: FileContext = { file, external };
  const parts: ModelPart[] = [];
  let graph: WireRecord | undefined;
  for (const record of readRecords(source, 0, source.size)) {
    if (record.field === modelFields.graph) {
      requireWireType(record, 2);
      if (graph)
        throw badModel(file, `"${file}" holds two graphs; expected one. Export the model again.`);
      graph = record;
    }
    parts.push(modelPart(record, context));
  }
  if (!graph) {
    throw badModel(
      file,
      `"${file}" has no graph, so it is no ONNX model. Check that it is an .onnx file.`,
    );
  }
  return { parts, graphParts: graphPartsOf(graph, context) };
}

function modelPart(record: WireRecord, context: FileContext): ModelPart {
  const content: Content = { record, context };
  switch (record.field) {
    case modelFields.graph:
      return { kind: "graph" };
    case modelFields.irVersion:
      return { kind: "irVersion", version: record.value, content };
    case modelFields.opsetImport: {
      let domain = "";
      let version = 0;
      requireWireType(record, 2);
      for (const child of readFields(record)) {
        if (child.field === opsetFields.domain) domain = normalDomain(nameOf(child));
        else if (child.field === opsetFields.version) version = child.value;
      }
      return { kind: "opset", domain, version, content };
    }
    case modelFields.functions: {
      requireWireType(record, 2);
      checkTensors("function", record, context);
      const overload = nameIn(record, functionFields.overload);
      const key = `${nameIn(record, functionFields.domain)}::${nameIn(record, functionFields.name)}`;
      return { kind: "function", key: overload ? `${key}:${overload}` : key, content };
    }
    case modelFields.metadata:
      requireWireType(record, 2);
      return { kind: "metadata", key: nameIn(record, entryFields.key), content };
    case modelFields.trainingInfo:
      requireWireType(record, 2);
      checkTensors("trainingInfo", record, context);
      return { kind: "training", content };
    default:
      return { kind: "other", content };
  }
}

function graphPartsOf(graph: WireRecord, context: FileContext): GraphPart[] {
  const headers: {
    readonly header: NodeHeader;
    readonly record: WireRecord;
    readonly at: number;
  }[] = [];
  const parts: GraphPart[] = [];
  for (const record of readFields(graph)) {
    if (record.field === graphFields.node) {
      headers.push({ header: decodeNodeHeader(record, context), record, at: parts.length });
      parts.push({ kind: "other", content: { record, context } }); // becomes a node below, once it has a name
    } else parts.push(graphPart(record, context));
  }
  const names = uniqueNodeNames(headers.map(({ header }) => header));
  headers.forEach(({ header, record, at }, index) => {
    parts[at] = { kind: "node", node: new StoredNode(names[index], header, record, context) };
  });
  return parts;
}

function graphPart(record: WireRecord, context: FileContext): GraphPart {
  const content: Content = { record, context };
  switch (record.field) {
    case graphFields.initializer:
      return { kind: "initializer", tensor: decodeTensor(record, context), content };
    case graphFields.input:
      return { kind: "input", info: decodeValueInfo(record, context), content };
    case graphFields.output:
      return { kind: "output", info: decodeValueInfo(record, context), content };
    case graphFields.valueInfo:
      return { kind: "valueInfo", info: decodeValueInfo(record, context), content };
    case graphFields.quantizationAnnotation:
      requireWireType(record, 2);
      return { kind: "annotation", name: nameIn(record, annotationFields.tensorName), content };
    case graphFields.sparseInitializer:
      requireWireType(record, 2);
      checkTensors("sparseTensor", record, context);
      return { kind: "sparse", name: sparseName(record), content };
    case graphFields.name:
      return { kind: "name", name: nameOf(record), content };
    default:
      return { kind: "other", content };
  }
}
