/**
 * What a model is made of and what quantization could do with it, without data and without reading a weight.
 * Succeeds for models where nothing can be quantized: that is what it is there to explain.
 */

import { invariant } from "../core/errors.ts";
import { float32Format, type WeightFormat } from "../core/format.ts";
import type { Layer, LayerId, LayerUse, SkippedNode } from "../core/layer.ts";
import type { ValueInfo } from "../onnx/index.ts";
import { rewriteModel, type Target, type TargetName, weightBytes } from "../rewrite/index.ts";
import { version } from "../version.ts";
import { unscoredAlternatives } from "./feasible.ts";
import { defaultFormats, type Subject, viewSubject } from "./subject.ts";

/** Options of `inspectModel`. */
export interface InspectOptions {
  /** How codes will appear in the graph; decides which formats are possible. Default "portable". */
  readonly target?: TargetName | Target | undefined;
  /** Formats on offer; default every width with blocks of 32, 64 and 128, symmetric and asymmetric. */
  readonly formats?: readonly WeightFormat[] | undefined;
}

/** One layer as `inspectModel` sees it. */
export interface InspectedLayer {
  readonly name: LayerId;
  readonly opType: string;
  readonly weight: string;
  readonly shape: readonly [n: number, k: number];
  readonly dtype: string;
  readonly block: string | null;
  /** Bytes in the float file. */
  readonly bytes: number;
  readonly uses: readonly Pick<LayerUse, "node" | "opType" | "activation">[];
}

/** One end of the range of plans. */
export interface PlanSize {
  /** Of the quantizable weights. */
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** Of the written file. */
  readonly fileBytes: number;
  /** Of the written file, in percent of the float file. */
  readonly filePercent: number;
}

/** What `inspectModel` found; the document of `quantize inspect --json`. */
export interface ModelInspection {
  readonly version: 1;
  readonly command: "inspect";
  readonly bitloom: string;
  readonly model: {
    readonly path: string;
    readonly bytes: number;
    readonly irVersion: number;
    readonly opsets: Readonly<Record<string, number>>;
    readonly functions: readonly string[];
    readonly nodes: number;
    readonly inputs: readonly ValueInfo[];
    readonly outputs: readonly ValueInfo[];
  };
  readonly target: string;
  readonly weights: number;
  readonly floatWeightBytes: number;
  /** Smallest and largest plan of the offered formats; null when nothing can be quantized. */
  readonly budgetRange: { readonly smallest: PlanSize; readonly largest: PlanSize } | null;
  readonly layers: readonly InspectedLayer[];
  readonly blocks: readonly { readonly name: string; readonly layers: readonly LayerId[] }[];
  readonly skipped: readonly SkippedNode[];
}

/**
 * Lists layers, blocks, skipped nodes with their reasons, and the sizes a plan can reach.
 *
 * The range assumes that all scales fit the target's scale type; a layer whose scales do not takes float32 scales.
 *
 * @throws bad-model - the file is not a readable ONNX model. bad-option - unknown target.
 */
export async function inspectModel(
  modelPath: string,
  options: InspectOptions = {},
): Promise<ModelInspection> {
  const { target = "portable", formats = defaultFormats(target) } = options;
  const subject = await viewSubject(modelPath, target);
  const { model, layers, blocks, skipped } = subject;
  const { graph } = model;
  const blockOf = new Map(blocks.flatMap(({ name, layers }) => layers.map((id) => [id, name])));
  return {
    version: 1,
    command: "inspect",
    bitloom: version,
    model: {
      path: modelPath,
      bytes: model.fileBytes,
      irVersion: model.irVersion,
      opsets: Object.fromEntries([...model.opsets].map(([domain, v]) => [domain || "ai.onnx", v])),
      functions: model.functions,
      nodes: graph.nodes.length,
      inputs: graph.inputs,
      outputs: graph.outputs,
    },
    target: typeof target === "string" ? target : "custom",
    weights: subject.weights,
    floatWeightBytes: subject.floatWeightBytes,
    budgetRange: layers.length > 0 ? rangeOf(subject, formats) : null,
    layers: layers.map((layer) => ({
      name: layer.id,
      opType: layer.opType,
      weight: layer.weight,
      shape: [layer.n, layer.k],
      dtype: layer.dtype,
      block: blockOf.get(layer.id) ?? null,
      bytes: weightBytes(subject.target, layer, float32Format, subject.opset),
      uses: layer.uses.map(({ node, opType, activation }) => ({ node, opType, activation })),
    })),
    blocks: blocks.map(({ name, layers }) => ({ name, layers })),
    skipped,
  };
}

function rangeOf(subject: Subject, formats: readonly WeightFormat[]) {
  const sizes = unscoredAlternatives(subject, { formats }).map(({ alternatives }, i) => {
    const layer = subject.layers[i];
    return alternatives
      .map(({ format, bytes }) => ({ layer, format, bytes }))
      .sort((a, b) => a.bytes - b.bytes);
  });
  const smallest = sizes.map((choices) => choices[0]);
  const largest = sizes.map((choices) => choices[choices.length - 1]);
  return { smallest: sizeOf(subject, smallest), largest: sizeOf(subject, largest) };
}

function sizeOf(
  { model, target, weights }: Subject,
  picks: readonly { layer: Layer; format: WeightFormat; bytes: number }[],
): PlanSize {
  const bytes = picks.reduce((sum, pick) => sum + pick.bytes, 0);
  // Sizes follow from shapes, so the planned file is measured without quantizing anything.
  const unread = picks.map(({ layer, format }) => ({
    layer,
    format,
    weight: async () => invariant(false, "inspection reads no weights") as never,
  }));
  const { fileBytes } = rewriteModel(model, unread, { target });
  return {
    bytes,
    bitsPerWeight: (8 * bytes) / weights,
    fileBytes,
    filePercent: (100 * fileBytes) / model.fileBytes,
  };
}
