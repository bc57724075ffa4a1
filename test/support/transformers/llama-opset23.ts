/**
 * Decoders in the standard operators of opset 23: Attention, RotaryEmbedding, RMSNormalization, and a boolean mask,
 * as torch's newer exporter writes them. The weights are those of `llamaPlain`.
 */
import { attribute, type Model } from "../../../src/onnx/index.ts";
import { type DecoderConfig, type DecoderOptions, decoderConfig, normEpsilon } from "./config.ts";
import { declareDecoder, pastName, presentName } from "./decoder-io.ts";
import { DecoderWeights, modules, type ProjectionName } from "./decoder-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import { head } from "./llama-plain.ts";
import { castTo, range, reshape, sizeOf, transpose, unsqueeze } from "./torch-shapes.ts";

export interface LlamaOpset23Options extends DecoderOptions {
  /** q, k and v as [batch, heads, sequence, headDim], or as [batch, sequence, heads · headDim]. Default "split". */
  readonly layout?: "split" | "flat";
}

interface Opset23Graph {
  readonly root: GraphWriter;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly flat: boolean;
  /** bool [batch, 1, sequence, total]. */
  readonly mask: string;
  readonly cos: string;
  readonly sin: string;
}

/** input_ids, attention_mask, position_ids, past_key_values.N.key/value → logits, present.N.key/value. */
export function llamaOpset23(options: LlamaOpset23Options = {}): Model {
  const { layout = "split", ...rest } = options;
  const config = decoderConfig(rest);
  const weights = new DecoderWeights(config);
  const root = new GraphWriter({ opset: 23, irVersion: 11, dialect: "torch" });
  declareDecoder(root, config, { cache: true, positionIds: true });
  const graph: Opset23Graph = {
    root,
    config,
    weights,
    flat: layout === "flat",
    mask: booleanMask(root.in("model")),
    cos: root.tensor(weights.rotaryTable("model.rotary_emb.cos_cache", "cos")),
    sin: root.tensor(weights.rotaryTable("model.rotary_emb.sin_cache", "sin")),
  };
  const table = root.tensor(weights.embedding("model.embed_tokens.weight"));
  const model = root.in("model");
  let hidden = model.in("embed_tokens").op("Gather", [table, "input_ids"]);
  if (config.scaledEmbedding) {
    const scale = model.float(Math.sqrt(config.hidden), config.dtype);
    hidden = model.op("Mul", [hidden, scale]);
  }
  for (let layer = 0; layer < config.layers; layer++) hidden = block(graph, layer, hidden);
  const normed = norm(graph, model.in("norm"), "model.norm", hidden, config.hidden);
  head(root, config, weights, table, normed);
  return root.model();
}

/** True where a token may look: at or before its own place in the cache, and no padding. */
function booleanMask(writer: GraphWriter): string {
  const past = sizeOf(writer, pastName(0, "key"), 2);
  const total = writer.op("Add", [past, sizeOf(writer, "input_ids", 1)]);
  const places = reshape(writer, range(writer, past, total), [-1, 1]);
  const causal = writer.op("LessOrEqual", [range(writer, 0, total), places]);
  const tokens = writer.op("Cast", ["attention_mask"], { to: castTo.bool });
  const row = unsqueeze(writer, unsqueeze(writer, tokens, 1), 2);
  const seen = writer.op("And", [causal, row]);
  // A row of padding that may look nowhere is undefined: it looks at itself, as in transformers.
  const itself = writer.op("Equal", [range(writer, 0, total), places]);
  return writer.op("Or", [seen, itself]);
}

function block(graph: Opset23Graph, layer: number, input: string): string {
  const { root, config } = graph;
  const writer = root.in(`model/layers.${layer}`);
  const normed = (name: string, x: string) =>
    norm(graph, writer.in(name), `model.layers.${layer}.${name}`, x, config.hidden);
  const sandwich = config.sandwichNorms;
  const attention = attend(graph, layer, normed("input_layernorm", input));
  const attended = sandwich ? normed("post_attention_layernorm", attention) : attention;
  const middle = writer.op("Add", [input, attended]);
  const name = sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  const output = perceptron(graph, layer, normed(name, middle));
  const last = sandwich ? normed("post_feedforward_layernorm", output) : output;
  return writer.op("Add", [middle, last]);
}

function norm(
  { root, config, weights }: Opset23Graph,
  writer: GraphWriter,
  key: string,
  x: string,
  length: number,
): string {
  const weight = root.tensor(weights.norm(`${key}.weight`, key, length, config.normOffset));
  return writer.op("RMSNormalization", [x, weight], {
    axis: attribute.int(-1),
    epsilon: attribute.float(normEpsilon),
    stash_type: attribute.int(1),
  });
}

function linear(graph: Opset23Graph, layer: number, name: ProjectionName, x: string): string {
  const { root, config, weights } = graph;
  const key = `model.layers.${layer}.${modules[name]}`;
  const writer = root.in(`model/layers.${layer}/${modules[name].replace(".", "/")}`);
  const weight = root.tensor(weights.projection(`${key}.weight`, layer, name));
  const product = writer.op("MatMul", [x, weight]);
  if (!config.projectionBias || !["q", "k", "v"].includes(name)) return product;
  return writer.op("Add", [product, root.tensor(weights.bias(`${key}.bias`, layer, name))]);
}

function attend(graph: Opset23Graph, layer: number, x: string): string {
  const { root, config, flat, mask } = graph;
  const { heads, kvHeads, headDim } = config;
  const writer = root.in(`model/layers.${layer}/self_attn`);
  const q = placed(graph, writer, layer, "q", heads, linear(graph, layer, "q", x));
  const k = placed(graph, writer, layer, "k", kvHeads, linear(graph, layer, "k", x));
  const values = linear(graph, layer, "v", x);
  const v = flat ? values : split(writer, values, kvHeads, headDim);
  const inputs = [q, k, v, mask, pastName(layer, "key"), pastName(layer, "value")];
  const outputs = [undefined, presentName(layer, "key"), presentName(layer, "value")];
  const softcap = config.attentionSoftcap;
  const [mixed] = writer.node("Attention", inputs, outputs, {
    scale: attribute.float(1 / Math.sqrt(headDim)),
    ...(softcap === 0 ? {} : { softcap: attribute.float(softcap) }),
    ...(flat ? { q_num_heads: attribute.int(heads), kv_num_heads: attribute.int(kvHeads) } : {}),
  });
  const joined = flat
    ? mixed
    : reshape(writer, transpose(writer, mixed, [0, 2, 1, 3]), [0, 0, heads * headDim]);
  return linear(graph, layer, "o", joined);
}

/** [batch, sequence, heads · headDim] → [batch, heads, sequence, headDim]. */
function split(writer: GraphWriter, x: string, heads: number, headDim: number): string {
  return transpose(writer, reshape(writer, x, [0, 0, heads, headDim]), [0, 2, 1, 3]);
}

/** Head norm and rotary embedding of q or k. */
function placed(
  graph: Opset23Graph,
  writer: GraphWriter,
  layer: number,
  name: "q" | "k",
  heads: number,
  x: string,
): string {
  const { config, flat, cos, sin } = graph;
  let value = x;
  if (config.headNorm) {
    const parts = reshape(writer, value, [0, 0, heads, config.headDim]);
    const key = `model.layers.${layer}.self_attn.${name}_norm`;
    const normed = norm(graph, writer.in(`${name}_norm`), key, parts, config.headDim);
    value = reshape(writer, normed, [0, 0, heads * config.headDim]);
  }
  const input = flat ? value : split(writer, value, heads, config.headDim);
  const attributes = flat ? { num_heads: attribute.int(heads) } : {};
  return writer.op("RotaryEmbedding", [input, cos, sin, "position_ids"], attributes);
}

function perceptron(graph: Opset23Graph, layer: number, x: string): string {
  const writer = graph.root.in(`model/layers.${layer}/mlp`);
  const gate = linear(graph, layer, "gate", x);
  const activated =
    graph.config.activation === "silu"
      ? writer.op("Mul", [gate, writer.op("Sigmoid", [gate])])
      : writer.op("Gelu", [gate], { approximate: attribute.str("tanh") });
  return linear(graph, layer, "down", writer.op("Mul", [activated, linear(graph, layer, "up", x)]));
}
