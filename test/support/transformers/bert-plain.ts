/**
 * BERT as optimum exports it: only ai.onnx operators. Layer norm is the operator of opset 17 or, at opset 14, the
 * chain of means that older exports have.
 */
import { attribute, type Model } from "../../../src/onnx/index.ts";
import { lowest } from "./causal-mask.ts";
import { type EncoderConfig, type EncoderOptions, encoderConfig, normEpsilon } from "./config.ts";
import { classify, declareEncoder, lastOutput } from "./encoder-head.ts";
import { type EncoderModule, EncoderWeights, encoderModules } from "./encoder-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import {
  castTo,
  meanOfLastAxis,
  reshape,
  sizeOf,
  slice,
  transpose,
  unsqueeze,
} from "./torch-shapes.ts";

export interface BertPlainOptions extends EncoderOptions {
  /** Default "operator". */
  readonly layerNorm?: "operator" | "chain";
}

interface BertGraph {
  readonly root: GraphWriter;
  readonly config: EncoderConfig;
  readonly weights: EncoderWeights;
  readonly layerNorm: "operator" | "chain";
  /** [batch, 1, 1, sequence]. */
  readonly mask: string;
}

/** input_ids, attention_mask, token_type_ids → last_hidden_state, or logits with `classes`. */
export function bertPlain(options: BertPlainOptions = {}): Model {
  const { layerNorm = "operator", ...rest } = options;
  const config = encoderConfig(rest);
  const opset = layerNorm === "operator" ? 17 : 14;
  const root = new GraphWriter({ opset, irVersion: 8, dialect: "torch" });
  declareEncoder(root, config);
  const weights = new EncoderWeights(root, config);
  const graph = { root, config, weights, layerNorm, mask: additiveMask(root, config) };
  let hidden = embeddings(graph);
  for (let layer = 0; layer < config.layers; layer++) hidden = block(graph, layer, hidden);
  classify(root, config, weights, hidden);
  return root.model();
}

/** (1 − mask) · lowest. */
function additiveMask(writer: GraphWriter, { dtype }: EncoderConfig): string {
  const row = unsqueeze(writer, unsqueeze(writer, "attention_mask", 1), 2);
  const tokens = writer.op("Cast", [row], { to: castTo[dtype] });
  const padding = writer.op("Sub", [writer.float(1, dtype), tokens]);
  return writer.op("Mul", [padding, writer.float(lowest[dtype], dtype)]);
}

function embeddings(graph: BertGraph): string {
  const { root, config, weights } = graph;
  const writer = root.in("embeddings");
  const gather = (of: "word" | "position" | "token_type", ids: string) =>
    writer.in(`${of}_embeddings`).op("Gather", [weights.table(of), ids]);
  const name = "embeddings.position_ids";
  const places = BigInt64Array.from({ length: config.positions }, (_, i) => BigInt(i));
  root.builder.initializer(name, [1, config.positions], places);
  const positions = slice(writer, name, 1, 0, sizeOf(writer, "input_ids", 1));
  const words = gather("word", "input_ids");
  const typed = writer.op("Add", [words, gather("token_type", "token_type_ids")]);
  const sum = writer.op("Add", [typed, gather("position", positions)]);
  return layerNorm(graph, "embeddings.LayerNorm", sum);
}

function block(graph: BertGraph, layer: number, x: string): string {
  const stem = `encoder.layer.${layer}`;
  const writer = graph.root.in(`encoder/layer.${layer}`);
  const attended = linear(graph, layer, "output", attend(graph, layer, x));
  const middle = writer.in("attention/output").op("Add", [attended, x]);
  const normed = layerNorm(graph, `${stem}.attention.output.LayerNorm`, middle);
  const wide = linear(graph, layer, "up", normed);
  const active = geluErf(writer.in("intermediate/intermediate_act_fn"), wide, graph.config);
  const output = linear(graph, layer, "down", active);
  const sum = writer.in("output").op("Add", [output, normed]);
  return layerNorm(graph, `${stem}.output.LayerNorm`, sum, lastOutput(graph.config, layer));
}

/** bias + x · weight, in torch's order. */
function linear(graph: BertGraph, layer: number, name: EncoderModule, x: string): string {
  const { root, weights } = graph;
  const writer = root.in(`encoder/layer.${layer}/${encoderModules[name].replaceAll(".", "/")}`);
  const product = writer.op("MatMul", [x, weights.weight(layer, name)]);
  return writer.op("Add", [weights.bias(layer, name), product]);
}

function attend(graph: BertGraph, layer: number, x: string): string {
  const { root, config, mask } = graph;
  const { heads, hidden, dtype } = config;
  const width = hidden / heads;
  const writer = root.in(`encoder/layer.${layer}/attention/self`);
  const split = (name: EncoderModule, order: readonly number[]) => {
    const flat = linear(graph, layer, name, x);
    const sizes = [sizeOf(writer, flat, 0), sizeOf(writer, flat, 1), heads, width];
    return transpose(writer, reshape(writer, flat, sizes), order);
  };
  const key = split("key", [0, 2, 3, 1]);
  const value = split("value", [0, 2, 1, 3]);
  const query = split("query", [0, 2, 1, 3]);
  const product = writer.op("MatMul", [query, key]);
  const scores = writer.op("Div", [product, writer.float(Math.sqrt(width), dtype)]);
  const masked = writer.op("Add", [scores, mask]);
  const shares = writer.op("Softmax", [masked], { axis: attribute.int(-1) });
  const mixed = transpose(writer, writer.op("MatMul", [shares, value]), [0, 2, 1, 3]);
  return reshape(writer, mixed, [sizeOf(writer, mixed, 0), sizeOf(writer, mixed, 1), hidden]);
}

/** x · (1 + erf(x / √2)) / 2. */
function geluErf(writer: GraphWriter, x: string, { dtype }: EncoderConfig): string {
  const erf = writer.op("Erf", [writer.op("Div", [x, writer.float(Math.SQRT2, dtype)])]);
  const product = writer.op("Mul", [x, writer.op("Add", [erf, writer.float(1, dtype)])]);
  return writer.op("Mul", [product, writer.float(0.5, dtype)]);
}

function layerNorm(graph: BertGraph, key: string, x: string, output?: string): string {
  const { root, config, weights } = graph;
  const { scale, shift } = weights.norm(key);
  const writer = root.in(key.replaceAll(".", "/").replace("layer/", "layer."));
  if (graph.layerNorm === "operator") {
    const attributes = { axis: attribute.int(-1), epsilon: attribute.float(normEpsilon) };
    return writer.op("LayerNormalization", [x, scale, shift], attributes, output);
  }
  const { dtype } = config;
  const centred = writer.op("Sub", [x, meanOfLastAxis(writer, x)]);
  const squares = writer.op("Pow", [centred, writer.float(2, dtype)]);
  const epsilon = writer.float(normEpsilon, dtype);
  const variance = writer.op("Add", [meanOfLastAxis(writer, squares), epsilon]);
  const normed = writer.op("Div", [centred, writer.op("Sqrt", [variance])]);
  return writer.op("Add", [writer.op("Mul", [normed, scale]), shift], {}, output);
}
