/**
 * Decoders as optimum exports them: only ai.onnx operators, everything decomposed. Two styles: "eager" (opset 14,
 * rotary tables, "less" mask, scores divided) and "sdpa" (opset 18, rotary angles by MatMul, "triangle" mask, q and k
 * scaled by the root of the scale). Not here: the attention and its mask.
 */
import { attribute, type Model } from "../../../src/onnx/index.ts";
import { type DecoderConfig, type DecoderOptions, decoderConfig } from "./config.ts";
import { DecoderWeights } from "./decoder-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import { plainAttention } from "./plain-attention.ts";
import { type PlainGraph, type PlainStyle, plainGraph } from "./plain-inputs.ts";
import { plainNorm, softcap } from "./plain-norm.ts";

export interface LlamaPlainOptions extends DecoderOptions {
  /** Key and value caches as inputs and outputs; default true. */
  readonly cache?: boolean;
  /** Default "sdpa". */
  readonly style?: PlainStyle;
}

/**
 * input_ids, attention_mask, with a cache also position_ids and past_key_values.N.key/value → logits, present.N.key/value.
 * Sequences may be padded on the left.
 */
export function llamaPlain(options: LlamaPlainOptions = {}): Model {
  const { cache = true, style = "sdpa", ...rest } = options;
  const config = decoderConfig(rest);
  const weights = new DecoderWeights(config);
  const opset = style === "eager" ? 14 : 18;
  const root = new GraphWriter({ opset, irVersion: 8, dialect: "torch" });
  const graph = plainGraph({ root, config, weights, style, cache });
  const model = root.in("model");
  const table = root.tensor(weights.embedding("model.embed_tokens.weight"));
  let hidden = model.in("embed_tokens").op("Gather", [table, "input_ids"]);
  if (config.scaledEmbedding) {
    const scale = model.float(Math.sqrt(config.hidden), config.dtype);
    hidden = model.op("Mul", [hidden, scale]);
  }
  for (let layer = 0; layer < config.layers; layer++) hidden = block(graph, layer, hidden);
  const normed = plainNorm(graph, model.in("norm"), "model.norm", hidden, config.hidden);
  head(root, config, weights, table, normed);
  return root.model();
}

function block(graph: PlainGraph, layer: number, input: string): string {
  const { config } = graph;
  const writer = graph.root.in(`model/layers.${layer}`);
  const norm = (name: string, x: string) =>
    plainNorm(graph, writer.in(name), `model.layers.${layer}.${name}`, x, config.hidden);
  const sandwich = config.sandwichNorms;
  const attention = plainAttention(graph, layer, norm("input_layernorm", input));
  const attended = sandwich ? norm("post_attention_layernorm", attention) : attention;
  const middle = writer.op("Add", [input, attended]);
  const normed = norm(sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm", middle);
  const output = perceptron(graph, layer, normed);
  return writer.op("Add", [middle, sandwich ? norm("post_feedforward_layernorm", output) : output]);
}

function perceptron(graph: PlainGraph, layer: number, x: string): string {
  const { config, weights, root } = graph;
  const writer = root.in(`model/layers.${layer}/mlp`);
  const linear = (name: "gate" | "up" | "down", input: string) => {
    const key = `model.layers.${layer}.mlp.${name}_proj.weight`;
    const weight = root.tensor(weights.projection(key, layer, name));
    return writer.in(`${name}_proj`).op("MatMul", [input, weight]);
  };
  const gate = linear("gate", x);
  const act = writer.in("act_fn");
  const activated =
    config.activation === "silu"
      ? act.op("Mul", [gate, act.op("Sigmoid", [gate])])
      : geluTanh(act, gate, config);
  return linear("down", writer.op("Mul", [activated, linear("up", x)]));
}

/** x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))). */
function geluTanh(writer: GraphWriter, x: string, { dtype }: DecoderConfig): string {
  const constant = (value: number) => writer.float(value, dtype);
  const cube = writer.op("Mul", [x, writer.op("Mul", [x, x])]);
  const inner = writer.op("Add", [x, writer.op("Mul", [constant(0.044715), cube])]);
  const tanh = writer.op("Tanh", [writer.op("Mul", [constant(Math.sqrt(2 / Math.PI)), inner])]);
  const sum = writer.op("Add", [constant(1), tanh]);
  return writer.op("Mul", [constant(0.5), writer.op("Mul", [x, sum])]);
}

/** Logits; a tied head multiplies by the embedding's transpose. */
export function head(
  root: GraphWriter,
  config: DecoderConfig,
  weights: DecoderWeights,
  table: string,
  x: string,
): void {
  const writer = root.in("lm_head");
  const weight = config.tied
    ? writer.op("Transpose", [table], { perm: attribute.ints([1, 0]) })
    : root.tensor(weights.head("lm_head.weight"));
  const cap = config.logitSoftcap;
  const logits = writer.op("MatMul", [x, weight], {}, cap === 0 ? "logits" : undefined);
  if (cap !== 0) softcap(writer, logits, cap, config, "logits");
}
