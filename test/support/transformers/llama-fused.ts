/**
 * Decoders as the model builder of onnxruntime-genai writes them: com.microsoft operators, the residual sum carried
 * by SkipSimplifiedLayerNormalization. Not here: attention and what feeds it. The weights are those of `llamaPlain`.
 */
import type { Model } from "../../../src/onnx/index.ts";
import { attribute } from "../../../src/onnx/index.ts";
import { type DecoderOptions, decoderConfig, normEpsilon } from "./config.ts";
import { declareDecoder } from "./decoder-io.ts";
import { DecoderWeights } from "./decoder-weights.ts";
import { type FusedGraph, type FusedKind, fusedAttention, fusedInputs } from "./fused-attention.ts";
import { GraphWriter } from "./graph-writer.ts";
import { head } from "./llama-plain.ts";

export interface LlamaFusedOptions extends DecoderOptions {
  /**
   * "group-query": GroupQueryAttention rotates and there is no position_ids input; "rotary-nodes": RotaryEmbedding
   * before it; "multi-head": RotaryEmbedding, repeated heads and MultiHeadAttention with a mask. Default "group-query".
   */
  readonly attention?: FusedKind;
  /** q, k and v as one projection; only "group-query" without head norms. Default false. */
  readonly packed?: boolean;
  /** SiLU as Sigmoid and Mul, or as QuickGelu of alpha 1 (what ONNX Runtime's optimiser makes of them). */
  readonly silu?: "sigmoid-mul" | "quick-gelu";
}

/** input_ids, attention_mask, past_key_values.N.key/value (and position_ids) → logits, present.N.key/value. */
export function llamaFused(options: LlamaFusedOptions = {}): Model {
  const { attention = "group-query", packed = false, silu = "sigmoid-mul", ...rest } = options;
  const config = decoderConfig(rest);
  if (packed && (attention !== "group-query" || config.headNorm)) {
    throw new Error("a packed projection needs group-query attention without head norms");
  }
  if (attention === "multi-head" && config.attentionSoftcap !== 0) {
    throw new Error("MultiHeadAttention has no soft cap");
  }
  const weights = new DecoderWeights(config);
  const root = new GraphWriter({ opset: 21, irVersion: 10, dialect: "genai" });
  declareDecoder(root, config, { cache: true, positionIds: attention !== "group-query" });
  const graph: FusedGraph = {
    root,
    config,
    weights,
    kind: attention,
    packed,
    ...fusedInputs(root, config, weights, attention),
  };
  const table = root.tensor(weights.embedding("model.embed_tokens.weight"));
  const embed = root.in("model/embed_tokens");
  let residual = embed.op("Gather", [table, "input_ids"]);
  if (config.scaledEmbedding) {
    const scale = root.float(Math.sqrt(config.hidden), config.dtype);
    residual = embed.op("Mul", [residual, scale]);
  }
  let branch: string | undefined;
  for (let layer = 0; layer < config.layers; layer++) {
    ({ residual, branch } = block(graph, silu, layer, residual, branch));
  }
  const final = `layers.${config.layers}.final_norm_layernorm`;
  const { normed } = skipNorm(graph, final, "model.norm", residual, branch, false);
  head(root, config, weights, table, normed);
  return root.model();
}

interface Stream {
  readonly residual: string;
  /** Not yet added to the residual stream. */
  readonly branch: string | undefined;
}

function block(
  graph: FusedGraph,
  silu: "sigmoid-mul" | "quick-gelu",
  layer: number,
  input: string,
  previous: string | undefined,
): Stream {
  const sandwich = graph.config.sandwichNorms;
  const skip = (name: string, residual: string, branch: string | undefined) => {
    const key = `layers.${layer}.${name}`;
    return skipNorm(graph, key, `model.${key}`, residual, branch, true);
  };
  const afterwards = (name: string, branch: string) =>
    sandwich ? skip(name, branch, undefined).normed : branch;
  const before = skip("input_layernorm", input, previous);
  const attention = fusedAttention(graph, layer, before.normed);
  const attended = afterwards("post_attention_layernorm", attention);
  const name = sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  const middle = skip(name, before.sum, attended);
  const output = perceptron(graph, silu, layer, middle.normed);
  return { residual: middle.sum, branch: afterwards("post_feedforward_layernorm", output) };
}

/** Norm of residual + branch, and that sum (output 3); of the residual alone without a branch. */
function skipNorm(
  { root, config, weights }: FusedGraph,
  location: string,
  key: string,
  residual: string,
  branch: string | undefined,
  keepsSum: boolean,
): { readonly normed: string; readonly sum: string } {
  const writer = root.in(`model/${location.replace(/\.(?=[a-z_]+$)/, "/")}`);
  const weight = root.tensor(
    weights.norm(`model.${location}.weight`, key, config.hidden, config.normOffset),
  );
  const epsilon = attribute.float(normEpsilon);
  if (branch === undefined) {
    const attributes = { epsilon, axis: attribute.int(-1), stash_type: attribute.int(1) };
    const normed = writer.op("SimplifiedLayerNormalization", [residual, weight], attributes);
    return { normed, sum: residual };
  }
  const [normed, , , sum] = writer.node(
    "com.microsoft::SkipSimplifiedLayerNormalization",
    [residual, branch, weight],
    keepsSum ? [undefined, "", "", undefined] : [undefined],
    { epsilon },
  );
  return { normed, sum };
}

function perceptron(
  { root, config, weights }: FusedGraph,
  silu: "sigmoid-mul" | "quick-gelu",
  layer: number,
  x: string,
): string {
  const writer = root.in(`model/layers.${layer}/mlp`);
  const linear = (name: "gate" | "up" | "down", input: string) => {
    const key = `model.layers.${layer}.mlp.${name}_proj.MatMul.weight`;
    const weight = root.tensor(weights.projection(key, layer, name));
    return writer.in(`${name}_proj`).op("MatMul", [input, weight]);
  };
  const gate = linear("gate", x);
  const up = linear("up", x);
  const act = writer.in("act_fn");
  let activated: string;
  if (config.activation === "gelu-tanh") activated = act.op("com.microsoft::FastGelu", [gate]);
  else if (silu === "quick-gelu") {
    activated = act.op("com.microsoft::QuickGelu", [gate], { alpha: attribute.float(1) });
  } else activated = act.op("Mul", [gate, act.op("Sigmoid", [gate])]);
  return linear("down", writer.op("Mul", [activated, up]));
}
