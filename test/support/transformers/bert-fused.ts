/**
 * BERT after ONNX Runtime's transformer optimiser: com.microsoft operators with packed projections, biases inside
 * the norms and activations, and int32 masks. The weights are those of `bertPlain`.
 */
import { attribute, type Model } from "../../../src/onnx/index.ts";
import { type EncoderConfig, type EncoderOptions, encoderConfig, normEpsilon } from "./config.ts";
import { classify, declareEncoder, lastOutput } from "./encoder-head.ts";
import { EncoderWeights } from "./encoder-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import { castTo, sizeOf, slice } from "./torch-shapes.ts";

export interface BertFusedOptions extends EncoderOptions {
  /** EmbedLayerNormalization, whose mask index Attention reads; or Gathers and SkipLayerNormalization. */
  readonly embedding?: "fused" | "gathers";
  /** "attention": projections inside the operator; "multi-head": outside. Default "attention". */
  readonly attention?: "attention" | "multi-head";
  /** "fast-gelu" is the tanh formula, so its results differ from `bertPlain`'s. Default "bias-gelu". */
  readonly gelu?: "bias-gelu" | "gelu" | "fast-gelu";
}

interface BertGraph {
  readonly root: GraphWriter;
  readonly config: EncoderConfig;
  readonly weights: EncoderWeights;
  readonly options: Required<Pick<BertFusedOptions, "embedding" | "attention" | "gelu">>;
}

const microsoft = (name: string) => `com.microsoft::${name}`;

/** input_ids, attention_mask, token_type_ids → last_hidden_state, or logits with `classes`. */
export function bertFused(options: BertFusedOptions = {}): Model {
  const { embedding = "fused", attention = "attention", gelu = "bias-gelu", ...rest } = options;
  const config = encoderConfig(rest);
  const root = new GraphWriter({ opset: 17, irVersion: 8, dialect: "genai" });
  declareEncoder(root, config);
  const weights = new EncoderWeights(root, config);
  const graph: BertGraph = { root, config, weights, options: { embedding, attention, gelu } };
  const masks = root.in("mask");
  const rawMask = masks.op("Cast", ["attention_mask"], { to: castTo.int32 });
  const embedded =
    embedding === "fused" ? fusedEmbeddings(graph, rawMask) : gatheredEmbeddings(graph, rawMask);
  let { hidden } = embedded;
  for (let layer = 0; layer < config.layers; layer++) {
    hidden = block(graph, layer, hidden, attention === "attention" ? embedded.mask : rawMask);
  }
  classify(root, config, weights, hidden);
  return root.model();
}

interface Embedded {
  readonly hidden: string;
  /** int32 [batch] of lengths (fused), or int32 [batch, sequence] of 0 and 1. */
  readonly mask: string;
}

function fusedEmbeddings({ root, weights }: BertGraph, rawMask: string): Embedded {
  const writer = root.in("embeddings");
  const ids = writer.op("Cast", ["input_ids"], { to: castTo.int32 });
  const types = writer.op("Cast", ["token_type_ids"], { to: castTo.int32 });
  const tables = (["word", "position", "token_type"] as const).map((of) => weights.table(of));
  const { scale, shift } = weights.norm("embeddings.LayerNorm");
  const [hidden, mask] = writer.node(
    microsoft("EmbedLayerNormalization"),
    [ids, types, ...tables, scale, shift, rawMask],
    [undefined, undefined],
    { epsilon: attribute.float(normEpsilon) },
  );
  return { hidden, mask };
}

function gatheredEmbeddings({ root, config, weights }: BertGraph, rawMask: string): Embedded {
  const writer = root.in("embeddings");
  const name = "embeddings.position_ids";
  const places = BigInt64Array.from({ length: config.positions }, (_, i) => BigInt(i));
  root.builder.initializer(name, [1, config.positions], places);
  const positions = slice(writer, name, 1, 0, sizeOf(writer, "input_ids", 1));
  const words = writer.op("Gather", [weights.table("word"), "input_ids"]);
  const types = writer.op("Gather", [weights.table("token_type"), "token_type_ids"]);
  const typed = writer.op("Add", [words, types]);
  const sum = writer.op("Add", [
    typed,
    writer.op("Gather", [weights.table("position"), positions]),
  ]);
  const { scale, shift } = weights.norm("embeddings.LayerNorm");
  const attributes = { axis: attribute.int(-1), epsilon: attribute.float(normEpsilon) };
  const hidden = writer.op("LayerNormalization", [sum, scale, shift], attributes);
  return { hidden, mask: rawMask };
}

function block(graph: BertGraph, layer: number, x: string, mask: string): string {
  const { root, config, weights } = graph;
  const writer = root.in(`encoder/layer.${layer}`);
  const attended = writer.op("MatMul", [
    attend(graph, writer, layer, x, mask),
    weights.weight(layer, "output"),
  ]);
  const stem = `encoder.layer.${layer}`;
  const skip = (key: string, branch: string, residual: string, bias: string, output?: string) => {
    const { scale, shift } = weights.norm(key);
    const inputs = [branch, residual, scale, shift, bias];
    const epsilon = attribute.float(normEpsilon);
    return writer.op(microsoft("SkipLayerNormalization"), inputs, { epsilon }, output);
  };
  const outputBias = weights.bias(layer, "output");
  const normed = skip(`${stem}.attention.output.LayerNorm`, attended, x, outputBias);
  const wide = writer.op("MatMul", [normed, weights.weight(layer, "up")]);
  const active = activate(graph, writer, wide, weights.bias(layer, "up"));
  const narrow = writer.op("MatMul", [active, weights.weight(layer, "down")]);
  const last = lastOutput(config, layer);
  return skip(`${stem}.output.LayerNorm`, narrow, normed, weights.bias(layer, "down"), last);
}

function activate({ options }: BertGraph, writer: GraphWriter, x: string, bias: string): string {
  if (options.gelu === "bias-gelu") return writer.op(microsoft("BiasGelu"), [x, bias]);
  if (options.gelu === "fast-gelu") return writer.op(microsoft("FastGelu"), [x, bias]);
  return writer.op(microsoft("Gelu"), [writer.op("Add", [x, bias])]);
}

function attend(
  { config, weights, options }: BertGraph,
  writer: GraphWriter,
  layer: number,
  x: string,
  mask: string,
): string {
  const num_heads = attribute.int(config.heads);
  const bias = weights.bias(layer, "query", "key", "value");
  if (options.attention === "attention") {
    const packed = weights.weight(layer, "query", "key", "value");
    return writer.op(microsoft("Attention"), [x, packed, bias, mask], { num_heads });
  }
  const parts = (["query", "key", "value"] as const).map((name) =>
    writer.op("MatMul", [x, weights.weight(layer, name)]),
  );
  return writer.op(microsoft("MultiHeadAttention"), [...parts, bias, mask], { num_heads });
}
