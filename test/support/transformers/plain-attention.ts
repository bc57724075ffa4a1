/**
 * Grouped-query attention with rotary positions and a cache, decomposed as torch exports it.
 */
import { attribute } from "../../../src/onnx/index.ts";
import { type CacheKind, pastName, presentName } from "./decoder-io.ts";
import { modules } from "./decoder-weights.ts";
import type { GraphWriter } from "./graph-writer.ts";
import type { PlainGraph } from "./plain-inputs.ts";
import { plainNorm, softcap } from "./plain-norm.ts";
import {
  castTo,
  expand,
  reshape,
  sizeOf,
  slice,
  toTheEnd,
  transpose,
  unsqueeze,
} from "./torch-shapes.ts";

/** [batch, sequence, hidden] → the same. */
export function plainAttention(graph: PlainGraph, layer: number, x: string): string {
  const { config, root } = graph;
  const { heads, kvHeads, headDim } = config;
  const writer = root.in(`model/layers.${layer}/self_attn`);
  const batch = sizeOf(writer, x, 0);
  const sequence = sizeOf(writer, x, 1);
  const split = (name: "q" | "k" | "v", count: number) => {
    const flat = linear(graph, writer, layer, name, x);
    const split = reshape(writer, flat, [batch, sequence, count, headDim]);
    const key = `model.layers.${layer}.self_attn.${name}_norm`;
    const normed =
      config.headNorm && name !== "v"
        ? plainNorm(graph, writer.in(`${name}_norm`), key, split, headDim)
        : split;
    return transpose(writer, normed, [0, 2, 1, 3]);
  };
  const [q, k, v] = [split("q", heads), split("k", kvHeads), split("v", kvHeads)];
  const cos = unsqueeze(writer, graph.cos, 1);
  const sin = unsqueeze(writer, graph.sin, 1);
  const query = rotate(graph, writer, q, cos, sin);
  const keys = cached(graph, writer, layer, "key", rotate(graph, writer, k, cos, sin));
  const values = cached(graph, writer, layer, "value", v);
  const repeated = (value: string) => repeatHeads(graph, writer, value);
  const mixed = attend(graph, writer, query, repeated(keys), repeated(values));
  const joined = transpose(writer, mixed, [0, 2, 1, 3]);
  const flat = reshape(writer, joined, [batch, sequence, heads * headDim]);
  return linear(graph, writer, layer, "o", flat);
}

function linear(
  graph: PlainGraph,
  writer: GraphWriter,
  layer: number,
  name: "q" | "k" | "v" | "o",
  x: string,
): string {
  const { config, root, weights } = graph;
  const key = `model.layers.${layer}.${modules[name]}`;
  const scope = writer.in(`${name}_proj`);
  const product = scope.op("MatMul", [
    x,
    root.tensor(weights.projection(`${key}.weight`, layer, name)),
  ]);
  if (!config.projectionBias || name === "o") return product;
  return scope.op("Add", [root.tensor(weights.bias(`${key}.bias`, layer, name)), product]);
}

/** x · cos + rotate_half(x) · sin; the eager style computes where the halves meet from the shape. */
function rotate(
  { style, config }: PlainGraph,
  writer: GraphWriter,
  x: string,
  cos: string,
  sin: string,
): string {
  const middle =
    style === "eager"
      ? writer.op("Div", [sizeOf(writer, x, 3), writer.int(2)])
      : config.headDim / 2;
  const first = slice(writer, x, 3, 0, middle);
  const second = writer.op("Neg", [slice(writer, x, 3, middle, toTheEnd)]);
  const turned = writer.op("Concat", [second, first], { axis: attribute.int(-1) });
  return writer.op("Add", [writer.op("Mul", [x, cos]), writer.op("Mul", [turned, sin])]);
}

/** [batch, kvHeads, sequence, headDim] after those of the cache; the result is the new cache. */
function cached(
  { cache }: PlainGraph,
  writer: GraphWriter,
  layer: number,
  kind: CacheKind,
  value: string,
): string {
  if (!cache) return value;
  const axis = attribute.int(-2);
  return writer.op("Concat", [pastName(layer, kind), value], { axis }, presentName(layer, kind));
}

/** [batch, kvHeads, total, headDim] → [batch, heads, total, headDim]. */
function repeatHeads({ config }: PlainGraph, writer: GraphWriter, value: string): string {
  const { heads, kvHeads, headDim } = config;
  if (heads === kvHeads) return value;
  const batch = sizeOf(writer, value, 0);
  const total = sizeOf(writer, value, 2);
  const wide = [batch, kvHeads, heads / kvHeads, total, headDim];
  const repeated = expand(writer, unsqueeze(writer, value, 2), wide);
  return reshape(writer, repeated, [batch, heads, total, headDim]);
}

/** softmax(q kᵀ / √headDim + mask) v; the softmax in float32. */
function attend(graph: PlainGraph, writer: GraphWriter, q: string, k: string, v: string): string {
  const { config, style } = graph;
  const turned = transpose(writer, k, [0, 1, 3, 2]);
  let scores: string;
  let mask = graph.mask;
  if (style === "eager") {
    const root = writer.float(Math.sqrt(config.headDim), config.dtype);
    scores = writer.op("Div", [writer.op("MatMul", [q, turned]), root]);
  } else {
    const scale = rootOfScale(graph, writer, q);
    const factors = [writer.op("Mul", [q, scale]), writer.op("Mul", [turned, scale])];
    scores = writer.op("MatMul", factors);
    mask = slice(writer, mask, 3, 0, sizeOf(writer, k, 2));
  }
  if (config.attentionSoftcap !== 0) {
    scores = softcap(writer, scores, config.attentionSoftcap, config);
  }
  const masked = writer.op("Add", [scores, mask]);
  const cast = (value: string, to: "float32" | "float16") =>
    config.dtype === "float16" ? writer.op("Cast", [value], { to: castTo[to] }) : value;
  const wide = cast(masked, "float32");
  const weights = writer.op("Softmax", [wide], { axis: attribute.int(-1) });
  return writer.op("MatMul", [cast(weights, "float16"), v]);
}

/** √(1 / √headDim), computed from the shape of q. */
function rootOfScale({ config }: PlainGraph, writer: GraphWriter, q: string): string {
  const shape = writer.op("Shape", [q]);
  const size = writer.op("Slice", [shape, writer.ints([-1]), writer.ints([toTheEnd])]);
  const width = writer.op("Cast", [size], { to: castTo[config.dtype] });
  const one = writer.float(1, config.dtype);
  return writer.op("Sqrt", [writer.op("Div", [one, writer.op("Sqrt", [width])])]);
}
