/**
 * The model class behind the `Model` view, and how one is made from bytes. Not here: where bytes come from (`open.ts`,
 * `open-bytes.ts`).
 * Invariant: a model never changes; an edit makes a new one that shares the untouched records of the old.
 */
import { BitloomError } from "../core/errors.ts";
import { encodeOpset } from "./encode.ts";
import { type ExternalFile, ExternalFiles, noFolder } from "./external.ts";
import { intField, textField } from "./field.ts";
import { GraphView } from "./graph.ts";
import { inlineLayout } from "./layout.ts";
import { maxOpset } from "./limits.ts";
import { parseModel } from "./parse.ts";
import { type GraphPart, type ModelPart, partsOf } from "./parts.ts";
import { concat, joinBytes, messageField } from "./piece.ts";
import { entryFields, graphFields, modelFields } from "./schema.ts";
import { type ByteSource, memorySource } from "./source.ts";
import type { Model } from "./types.ts";
import { badModel, readFields, textOf } from "./wire.ts";

/** The unedited files behind a model, for saving it as it is. */
export interface Original {
  readonly source: ByteSource;
  readonly external: readonly ExternalFile[];
}

/** What a model, or the one it was edited from, was opened from. */
export interface ModelOrigin {
  readonly path: string | undefined;
  /** For messages. */
  readonly label: string;
  /** Real paths of the files that are read: never to be written to. */
  readonly inputFiles: ReadonlySet<string>;
}

export class StoredModel implements Model {
  readonly from: ModelOrigin;
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: GraphView;
  readonly functions: readonly string[];
  readonly parts: readonly ModelPart[];
  readonly graphParts: readonly GraphPart[];
  /** Undefined once edited. */
  readonly original: Original | undefined;

  /** @throws bad-model - the parts make no valid model. */
  constructor(
    from: ModelOrigin,
    parts: readonly ModelPart[],
    graphParts: readonly GraphPart[],
    original: Original | undefined,
  ) {
    const file = from.label;
    this.from = from;
    this.parts = parts;
    this.graphParts = graphParts;
    this.original = original;
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

  get path(): string | undefined {
    return this.from.path;
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
 * The model in `source`, its weights unread.
 *
 * @param path - of the file behind it; undefined in memory.
 * @throws bad-model - not a readable, valid ONNX model; what and where is in the message.
 */
export function openSource(
  source: ByteSource,
  external: ExternalFiles,
  path?: string,
): StoredModel {
  const { parts, graphParts } = parseModel(source, external);
  const original: Original = { source, external: external.list() };
  const files = [source, ...original.external.map((file) => file.source)];
  const inputFiles = files.flatMap(({ realPath }) => (realPath === undefined ? [] : [realPath]));
  const from: ModelOrigin = { path, label: source.label, inputFiles: new Set(inputFiles) };
  return new StoredModel(from, parts, graphParts, original);
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
  return openSource(memorySource(joinBytes(content)), new ExternalFiles(noFolder));
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
