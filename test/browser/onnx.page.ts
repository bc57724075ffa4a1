/** Runs in a page: opens, edits, cuts and writes models with the modules that `test/browser/onnx.test.ts` compares. */
import {
  attribute,
  editModel,
  encodeModel,
  extractSubgraph,
  openModelBytes,
} from "../../src/onnx/portable.ts";

export interface OnnxInput {
  /** Addresses of the model and, by location, of its external data. */
  readonly model: string;
  readonly externalData: Readonly<Record<string, string>>;
}

export interface OnnxFacts {
  readonly nodes: number;
  readonly initializers: number;
  readonly inputs: readonly string[];
  readonly fileBytes: number;
  /** SHA-256 of the model with everything inline; of an edited one; of one cut to its first half. */
  readonly encoded: string;
  readonly edited: string;
  readonly cut: string;
}

/** The same in Node and in a page, but for how the bytes come. */
export async function run(input: OnnxInput): Promise<OnnxFacts> {
  const externalData: Record<string, Uint8Array> = {};
  for (const [location, address] of Object.entries(input.externalData)) {
    externalData[location] = await fetchBytes(address);
  }
  return factsOf(await fetchBytes(input.model), externalData);
}

export async function factsOf(
  bytes: Uint8Array,
  externalData: Readonly<Record<string, Uint8Array>>,
): Promise<OnnxFacts> {
  const model = await openModelBytes(bytes, { externalData });
  const { nodes, initializers, inputs, outputs } = model.graph;
  const editor = editModel(model);
  editor.setMetadata("made by", "a page ✓");
  const [{ name }] = outputs;
  const copied = editor.uniqueName(name);
  const attributes = { axis: attribute.int(-1), floats: attribute.floats([0.1, -0]) };
  editor.addNodes([
    { name: copied, opType: "Softmax", inputs: [name], outputs: [copied], attributes },
  ]);
  editor.addOutput({ name: copied, dtype: undefined, shape: undefined });
  const middle = nodes[nodes.length >> 1].outputs[0];
  const ends = { inputs: [], outputs: [{ name: middle, dtype: undefined, shape: undefined }] };
  return {
    nodes: nodes.length,
    initializers: initializers.size,
    inputs: inputs.map((info) => `${info.name} ${info.dtype} [${info.shape?.join(", ")}]`),
    fileBytes: model.fileBytes,
    encoded: await digest(await encodeModel(model)),
    edited: await digest(await encodeModel(editor.commit())),
    cut: await digest(await encodeModel(extractSubgraph(model, ends))),
  };
}

async function fetchBytes(address: string): Promise<Uint8Array> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new Uint8Array(bytes));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
