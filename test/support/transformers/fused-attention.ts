/**
 * Attention of onnxruntime-genai graphs: GroupQueryAttention with lengths computed from the mask, or
 * MultiHeadAttention with an additive mask.
 */
import { attribute } from "../../../src/onnx/index.ts";
import { lessMask } from "./causal-mask.ts";
import { type DecoderConfig, normEpsilon } from "./config.ts";
import { type CacheKind, pastName, presentName } from "./decoder-io.ts";
import type { DecoderWeights, ProjectionName } from "./decoder-weights.ts";
import type { GraphWriter } from "./graph-writer.ts";
import { castTo, expand, sizeOf, transpose, unsqueeze } from "./torch-shapes.ts";

export type FusedKind = "group-query" | "rotary-nodes" | "multi-head";

export interface FusedInputs {
  /** int32 [batch, 1]: tokens of each sample − 1. */
  readonly lengths: string;
  /** int32 scalar: past + sequence. */
  readonly total: string;
  /** [batch, 1, sequence, total]; only for "multi-head". */
  readonly mask: string;
  readonly cos: string;
  readonly sin: string;
  /** int64 [batch, sequence]; not for "group-query". */
  readonly positions: string;
}

export interface FusedGraph extends FusedInputs {
  readonly root: GraphWriter;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly kind: FusedKind;
  readonly packed: boolean;
}

/** What all layers share. */
export function fusedInputs(
  root: GraphWriter,
  config: DecoderConfig,
  weights: DecoderWeights,
  kind: FusedKind,
): FusedInputs {
  const cos = root.tensor(weights.rotaryTable("cos_cache", "cos"));
  const sin = root.tensor(weights.rotaryTable("sin_cache", "sin"));
  const positions = kind === "group-query" ? "" : reformattedPositions(root);
  if (kind === "multi-head") {
    const writer = root.in("model/attn_mask_reformat");
    const batch = sizeOf(writer, "input_ids", 0);
    const sequence = sizeOf(writer, "input_ids", 1);
    const past = sizeOf(writer, pastName(0, "key"), 2);
    const total = writer.op("Add", [past, sequence]);
    const mask = lessMask(writer, { batch, sequence, past, total }, config.dtype);
    return { lengths: "", total: "", mask, cos, sin, positions };
  }
  const writer = root.in("model/attn_mask_reformat/attn_mask_subgraph");
  const counts = writer.op("ReduceSum", ["attention_mask", writer.ints([1])]);
  const last = writer.op("Sub", [counts, writer.ints([1])]);
  const lengths = writer.in("Sub").op("Cast", [last], { to: castTo.int32 });
  const size = sizeOf(writer, "attention_mask", 1);
  const total = writer.in("Gather").op("Cast", [size], { to: castTo.int32 });
  return { lengths, total, mask: "", cos, sin, positions };
}

/** position_ids as [batch, sequence] of input_ids, whatever shape the caller gives. */
function reformattedPositions(root: GraphWriter): string {
  const writer = root.in("model/pos_ids_reformat");
  const sequence = unsqueeze(writer, sizeOf(writer, "input_ids", 1), 0);
  const shape = writer.op("Concat", [writer.ints([-1]), sequence], { axis: attribute.int(0) });
  return writer.op("Reshape", ["position_ids", shape]);
}

/** [batch, sequence, hidden] → the same. */
export function fusedAttention(graph: FusedGraph, layer: number, x: string): string {
  const { root, weights, packed } = graph;
  const writer = root.in(`model/layers.${layer}/attn`);
  let inputs: string[];
  if (packed) inputs = [projected(graph, writer, layer, x, "q", "k", "v"), "", ""];
  else {
    inputs = (["q", "k", "v"] as const).map((name) => {
      const flat = projected(graph, writer, layer, x, name);
      return name === "v" ? flat : placed(graph, writer, layer, name, flat);
    });
  }
  const attended =
    graph.kind === "multi-head"
      ? multiHead(graph, writer, layer, inputs)
      : groupQuery(graph, writer, layer, inputs);
  const weight = weights.projection(`model.layers.${layer}.attn.o_proj.MatMul.weight`, layer, "o");
  return writer.in("o_proj").op("MatMul", [attended, root.tensor(weight)]);
}

/** One projection, or several side by side, with its bias. */
function projected(
  { root, config, weights }: FusedGraph,
  writer: GraphWriter,
  layer: number,
  x: string,
  ...names: ProjectionName[]
): string {
  const name = `${names.join("")}_proj`;
  const stem = `model.layers.${layer}.attn.${name}`;
  const scope = writer.in(name);
  const weight = root.tensor(weights.projection(`${stem}.MatMul.weight`, layer, ...names));
  const product = scope.op("MatMul", [x, weight]);
  if (!config.projectionBias) return product;
  return scope.op("Add", [product, root.tensor(weights.bias(`${stem}.Add.bias`, layer, ...names))]);
}

/** Head norm and rotary embedding of q or k, as far as the attention does not do them itself. */
function placed(
  { root, config, weights, kind, cos, sin, positions }: FusedGraph,
  writer: GraphWriter,
  layer: number,
  name: "q" | "k",
  flat: string,
): string {
  let value = flat;
  if (config.headNorm) {
    const { headDim, heads, kvHeads } = config;
    const scope = writer.in(`${name}_norm`);
    const split = scope.op("Reshape", [value, scope.ints([0, -1, headDim])]);
    const key = `model.layers.${layer}.self_attn.${name}_norm`;
    const stored = `model.layers.${layer}.attn.${name}_norm.layernorm.weight`;
    const normed = scope.op(
      "SimplifiedLayerNormalization",
      [split, root.tensor(weights.norm(stored, key, headDim, config.normOffset))],
      {
        epsilon: attribute.float(normEpsilon),
        axis: attribute.int(-1),
        stash_type: attribute.int(1),
      },
    );
    const width = (name === "q" ? heads : kvHeads) * headDim;
    value = scope.op("Reshape", [normed, scope.ints([0, -1, width])]);
  }
  if (kind === "group-query") return value;
  return writer
    .in(`${name}_rotary`)
    .op("com.microsoft::RotaryEmbedding", [value, positions, cos, sin], {
      interleaved: attribute.int(0),
      num_heads: attribute.int(0),
      rotary_embedding_dim: attribute.int(0),
    });
}

function groupQuery(
  graph: FusedGraph,
  writer: GraphWriter,
  layer: number,
  inputs: readonly string[],
): string {
  const { config, kind, lengths, total, cos, sin } = graph;
  const rotates = kind === "group-query";
  const caches = [pastName(layer, "key"), pastName(layer, "value")];
  const tables = rotates ? [cos, sin] : [];
  return writer.node(
    "com.microsoft::GroupQueryAttention",
    [...inputs, ...caches, lengths, total, ...tables],
    [undefined, presentName(layer, "key"), presentName(layer, "value")],
    {
      num_heads: attribute.int(config.heads),
      kv_num_heads: attribute.int(config.kvHeads),
      scale: attribute.float(1 / Math.sqrt(config.headDim)),
      softcap: attribute.float(config.attentionSoftcap),
      local_window_size: attribute.int(-1),
      do_rotary: attribute.int(rotates ? 1 : 0),
      rotary_interleaved: attribute.int(0),
    },
  )[0];
}

/** MultiHeadAttention knows no groups: fewer key heads are repeated before it, and the cache is joined outside. */
function multiHead(
  graph: FusedGraph,
  writer: GraphWriter,
  layer: number,
  [q, k, v]: readonly string[],
): string {
  const { config, mask } = graph;
  const caches = [pastName(layer, "key"), pastName(layer, "value")];
  const presents = [presentName(layer, "key"), presentName(layer, "value")];
  const attributes = {
    num_heads: attribute.int(config.heads),
    scale: attribute.float(1 / Math.sqrt(config.headDim)),
  };
  const operator = "com.microsoft::MultiHeadAttention";
  if (config.heads === config.kvHeads) {
    const inputs = [q, k, v, "", "", mask, ...caches];
    return writer.node(operator, inputs, [undefined, ...presents], attributes)[0];
  }
  const keys = repeated(graph, writer.in("k_proj/repeat_kv"), layer, "key", k);
  const values = repeated(graph, writer.in("v_proj/repeat_kv"), layer, "value", v);
  return writer.op(operator, [q, keys, values, "", "", mask], attributes);
}

/** [batch, sequence, kvHeads · headDim] joined to the cache, every head repeated: [batch, total, heads · headDim]. */
function repeated(
  { config }: FusedGraph,
  writer: GraphWriter,
  layer: number,
  kind: CacheKind,
  flat: string,
): string {
  const { heads, kvHeads, headDim } = config;
  const split = writer.op("Reshape", [flat, writer.ints([0, 0, kvHeads, headDim])]);
  const turned = transpose(writer, split, [0, 2, 1, 3]);
  const joined = writer.op(
    "Concat",
    [pastName(layer, kind), turned],
    { axis: attribute.int(2) },
    presentName(layer, kind),
  );
  const batch = sizeOf(writer, joined, 0);
  const total = sizeOf(writer, joined, 2);
  const wide = [batch, kvHeads, heads / kvHeads, total, headDim];
  const copies = expand(writer, unsqueeze(writer, joined, 2), wide);
  const merged = writer.op("Reshape", [copies, writer.ints([0, heads, -1, headDim])]);
  const back = transpose(writer, merged, [0, 2, 1, 3]);
  return writer.op("Reshape", [back, writer.ints([0, 0, heads * headDim])]);
}
