/**
 * Opening models, and the model class behind the `Model` view.
 * Invariant: a model never changes; an edit makes a new one that shares the untouched records of the old.
 */
import { BitloomError } from "../core/errors.ts";
import { encodeOpset } from "./encode.ts";
import type { ExternalFile } from "./external.ts";
import { intField, textField } from "./field.ts";
import { GraphView } from "./graph.ts";
import { inlineLayout } from "./layout.ts";
import { maxOpset } from "./limits.ts";
import { type ParsedModel, parseModel } from "./parse.ts";
import { type GraphPart, type ModelPart, partsOf } from "./parts.ts";
import { concat, joinBytes, messageField } from "./piece.ts";
import { entryFields, graphFields, modelFields } from "./schema.ts";
import { type ByteSource, fileSource, memorySource } from "./source.ts";
import type { Model } from "./types.ts";
import { badModel, readFields, textOf } from "./wire.ts";

/** The unedited files behind a model, for saving it as it is. */
export interface Original {
  readonly source: ByteSource;
  readonly external: readonly ExternalFile[];
}

export class StoredModel implements Model {
  readonly path: string | undefined;
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: GraphView;
  readonly functions: readonly string[];
  readonly parts: readonly ModelPart[];
  readonly graphParts: readonly GraphPart[];
  /** Undefined once edited. */
  readonly original: Original | undefined;
  /** Real paths of the files that this model, or the one it was edited from, reads: never to be written to. */
  readonly inputFiles: ReadonlySet<string>;

  /** @throws bad-model - the parts make no valid model. */
  constructor(
    path: string | undefined,
    parts: readonly ModelPart[],
    graphParts: readonly GraphPart[],
    original: Original | undefined,
    inputFiles: ReadonlySet<string>,
  ) {
    const file = path ?? "(in memory)";
    this.path = path;
    this.parts = parts;
    this.graphParts = graphParts;
    this.original = original;
    this.inputFiles = inputFiles;
    this.irVersion = partsOf(parts, "irVersion").at(-1)?.version ?? 0;
    if (this.irVersion < 1) {
      throw badModel(
        file,
        `"${file}" states no IR version, so it is no ONNX model. Export it again.`,
      );
    }
    const opsets = new Map(partsOf(parts, "opset").map(({ domain, version }) => [domain, version]));
    // Before IR 3 there was no opset_import; opset 1 is implied.
    if (this.irVersion < 3 && !opsets.has("")) opsets.set("", 1);
    this.opsets = opsets;
    this.functions = partsOf(parts, "function").map(({ key }) => key);
    this.graph = new GraphView(graphParts, this.irVersion, file);
    checkOpsets(this, file);
  }

  get metadata(): ReadonlyMap<string, string> {
    const metadata = new Map<string, string>();
    for (const { key, value, content } of partsOf(this.parts, "metadata")) {
      metadata.set(key, value ?? "");
      if (value !== undefined || !("record" in content)) continue;
      for (const child of readFields(content.record)) {
        if (child.field === entryFields.value) metadata.set(key, textOf(child));
      }
    }
    return metadata;
  }

  get fileBytes(): number {
    if (!this.original) return inlineLayout(this.parts, this.graphParts).model.byteLength;
    const { source, external } = this.original;
    return external.reduce((bytes, file) => bytes + file.source.size, source.size);
  }
}

function checkOpsets(model: StoredModel, file: string): void {
  const version = model.opsets.get("");
  if (version === undefined) {
    const node = model.graph.nodes.find(({ domain }) => domain === "");
    if (!node) return;
    const message = `"${file}" imports no opset of ai.onnx, but node "${node.name}" (${node.opType}) needs it. Export the model again.`;
    throw badModel(file, message, node.name);
  }
  if (version < 1 || version > maxOpset) {
    const message = `"${file}" imports opset ${version} of ai.onnx; expected 1 to ${maxOpset}. Convert the model to a known opset.`;
    throw badModel(file, message, "opset_import");
  }
}

/**
 * Opens a model without reading its weights.
 *
 * @param pathOrBytes - path of the .onnx file, or its bytes, which must not change afterwards.
 * @throws bad-model - not a readable, valid ONNX model; what and where is in the message.
 *
 * Cost: O(nodes + initializers) time and memory, whatever the size of the weights.
 */
export async function openModel(pathOrBytes: string | Uint8Array): Promise<Model> {
  const path = typeof pathOrBytes === "string" ? pathOrBytes : undefined;
  const source =
    typeof pathOrBytes === "string" ? fileSource(pathOrBytes) : memorySource(pathOrBytes);
  return storedModel(parseModel(source, path), source, path);
}

function storedModel(
  parsed: ParsedModel,
  source: ByteSource,
  path: string | undefined,
): StoredModel {
  const external = parsed.external.list();
  const files = [source, ...external.map((file) => file.source)];
  const inputFiles = files.flatMap(({ realPath }) => (realPath === undefined ? [] : [realPath]));
  const original: Original = { source, external };
  return new StoredModel(path, parsed.parts, parsed.graphParts, original, new Set(inputFiles));
}

export interface CreateModelOptions {
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly graphName?: string;
}

/** A model in memory with an empty graph, to be filled by an editor. */
export function createModel(options: CreateModelOptions): Model {
  const { irVersion, opsets, graphName = "graph" } = options;
  const content = concat([
    intField(modelFields.irVersion, irVersion),
    textField(modelFields.producerName, "bitloom"),
    messageField(modelFields.graph, textField(graphFields.name, graphName)),
    ...[...opsets].map(([domain, version]) =>
      messageField(modelFields.opsetImport, encodeOpset(domain, version)),
    ),
  ]);
  const source = memorySource(joinBytes(content));
  return storedModel(parseModel(source, undefined), source, undefined);
}

/** The class behind a `Model` view. */
export function storedModelOf(model: Model): StoredModel {
  if (model instanceof StoredModel) return model;
  throw new BitloomError(
    "bad-option",
    "This model was not made by bitloom: expected one from openModel, createModel or an editor. Open it first.",
    { option: "model" },
  );
}
