/**
 * Which nodes of a graph can be quantized, seen as W [N, K], and why the others cannot. Only this folder knows how
 * files store weights. Scope: the main graph; bodies of If, Loop and functions are named and left as they are.
 */
import { BitloomError } from "../core/errors.ts";
import { firstNonFinite } from "../core/finite.ts";
import type { Layer, SkippedNode } from "../core/layer.ts";
import {
  elementCount,
  type Matrix,
  toBfloat16Bits,
  toFloat16Bits,
  toFloat32,
  transposed,
} from "../core/tensor.ts";
import type { Graph, Node } from "../onnx/index.ts";
import { resolveConstant } from "./constant.ts";
import { conv } from "./conv.ts";
import { gather } from "./gather.ts";
import { gemm } from "./gemm.ts";
import type { LayerKind, LayerMatch } from "./kind.ts";
import { matMul } from "./matmul.ts";

export { findBlocks } from "./blocks.ts";
export type { LayerKind } from "./kind.ts";

/** Which operators have layers; the key is the operator. */
export const layerKinds = {
  MatMul: matMul,
  Gemm: gemm,
  Gather: gather,
  Conv: conv,
} satisfies Record<string, LayerKind>;

/** Operators of quantized weights, of any domain. */
const quantizedOperators = new Set([
  "MatMulNBits",
  "MatMulBnb4",
  "MatMulInteger",
  "MatMulIntegerToFloat",
  "DynamicQuantizeMatMul",
  "QLinearMatMul",
  "QGemm",
  "QAttention",
  "QMoE",
  "GatherBlockQuantized",
  "ConvInteger",
  "QLinearConv",
]);

/** Standard operators that hold weights but have no layer kind. */
const unsupportedOperators = new Set(["ConvTranspose", "Einsum", "LSTM", "GRU", "RNN"]);

/** Operators whose constant matrices are tables of angles, no weights. */
const rotaryOperators = new Set(["GroupQueryAttention", "RotaryEmbedding"]);

/** Of the functions that `rewrite/` writes. */
const bitloomDomain = "bitloom";

/** What `findLayers` found, and what it passed over. */
export interface FoundLayers {
  readonly layers: readonly Layer[];
  readonly skipped: readonly SkippedNode[];
}

/**
 * Finds the layers of a model's main graph, in topological order of their first use.
 *
 * A weight read by several nodes (tied embedding and output head) is one layer. It is skipped, with the reason, when
 * a node that is no layer reads it too, when its readers disagree on its orientation, when a caller may override it,
 * or when a subgraph reads it.
 *
 * Cost: one pass over the nodes; no weight is read.
 */
export function findLayers(graph: Graph): FoundLayers {
  const skipped: SkippedNode[] = [];
  const byWeight = new Map<string, { match: LayerMatch; node: Node }[]>();
  const skip = (node: Node, reason: string) =>
    skipped.push({ name: node.name, opType: node.opType, reason });
  for (const node of graph.nodes) {
    const kind =
      node.domain === "" ? (layerKinds as Record<string, LayerKind>)[node.opType] : undefined;
    if (kind) {
      const match = kind.match(node, graph);
      if ("skipped" in match) {
        skip(node, match.skipped);
        continue;
      }
      const { root } = match.weight;
      const others = byWeight.get(root);
      if (others) others.push({ match, node });
      else byWeight.set(root, [{ match, node }]);
    } else {
      const reason = whyNoKind(node, graph);
      if (reason) skip(node, reason);
    }
  }
  const layers: Layer[] = [];
  for (const [root, found] of byWeight) {
    const reason = whyNotAlone(graph, root, found);
    const matches = found.map(({ match }) => match);
    if (reason === undefined) layers.push(toLayer(root, matches));
    else for (const { node } of found) skip(node, reason);
  }
  const order = new Map(graph.nodes.map((node, index) => [node.name, index]));
  const position = (name: string) => order.get(name) ?? 0;
  return { layers, skipped: skipped.sort((a, b) => position(a.name) - position(b.name)) };
}

/** Why a node without a layer kind is passed over; undefined for those that hold no weights. */
function whyNoKind({ domain, opType, inputs, attributes }: Node, graph: Graph): string | undefined {
  if (quantizedOperators.has(opType) || domain === bitloomDomain) {
    return `its weight is already quantized (${opType})`;
  }
  if ([...attributes.values()].some(({ type }) => type === "graph")) {
    return "its body is not searched: only the main graph is quantized";
  }
  if (rotaryOperators.has(opType)) return undefined;
  // A custom operator or a call of a model-local function that reads a constant matrix.
  const readsMatrix = inputs.some((input) => {
    const constant = resolveConstant(graph, input);
    return constant && !("skipped" in constant);
  });
  if (domain === "") {
    return unsupportedOperators.has(opType) ? `operator ${opType} is not supported` : undefined;
  }
  return readsMatrix ? `operator ${domain}::${opType} is not supported` : undefined;
}

function whyNotAlone(
  graph: Graph,
  root: string,
  found: readonly { match: LayerMatch; node: Node }[],
): string | undefined {
  const label = `its weight "${root}"`;
  if (graph.overridable.has(root))
    return `${label} is also a graph input, so a caller may replace it`;
  const path = found.flatMap(({ match }) => match.weight.path);
  const values = new Set([root, ...path.flatMap((node) => node.outputs)]);
  // A node on the path reads it once; a layer's node may read it a second time, as bias or activation.
  const own = new Set(path.map((node) => `${node.name}:0`));
  for (const { match, node } of found) own.add(`${node.name}:${match.position}`);
  for (const value of values) {
    if (graph.readInSubgraph(value))
      return `${label} is read inside a subgraph (If, Loop or Scan body)`;
    if (graph.outputs.some((output) => output.name === value)) return `${label} is a graph output`;
    const stranger = graph.uses(value).find(({ node, index }) => !own.has(`${node.name}:${index}`));
    if (stranger) {
      return `${label} is also read by "${stranger.node.name}" (${stranger.node.opType}), which needs it in float`;
    }
  }
  const disagree = <T>(of: (match: LayerMatch) => T) =>
    new Set(found.map(({ match }) => of(match))).size > 1;
  const sharing = `the nodes that share ${label.slice(4)} disagree on its`;
  if (disagree(({ storedTransposed }) => storedTransposed)) return `${sharing} orientation`;
  if (disagree(groupsOf)) return `${sharing} groups`;
  return undefined;
}

const groupsOf = ({ use }: LayerMatch) => use.window?.groups ?? 1;

function toLayer(root: string, matches: readonly LayerMatch[]): Layer {
  const { tensor } = matches[0].weight;
  const transpose = matches[0].storedTransposed;
  const { shape } = tensor;
  const [rows, ...rest] = shape;
  const cols = elementCount(rest);
  return {
    id: matches[0].use.node,
    opType: [...new Set(matches.map(({ use }) => use.opType))].join("+"),
    weight: root,
    dtype: tensor.dtype as Layer["dtype"],
    path: [...new Set(matches.flatMap(({ weight }) => weight.path.map((node) => node.name)))],
    n: transpose ? cols : rows,
    k: transpose ? rows : cols,
    groups: groupsOf(matches[0]),
    uses: matches.map(({ use }) => use),
    async readWeight(): Promise<Matrix> {
      const data = toFloat32(tensor.dtype as Layer["dtype"], await tensor.bytes());
      const stored = { rows, cols, data };
      const bad = firstNonFinite(data);
      if (bad >= 0) {
        throw new BitloomError(
          "numeric",
          `Weight "${root}" of layer "${matches[0].use.node}" holds ${data[bad]} at element ${bad}: a quantized weight must be finite. Repair the model, or keep the layer in float with --pin '${matches[0].use.node}=float32'.`,
          { layer: matches[0].use.node, step: "read weight" },
        );
      }
      return transpose ? transposed(stored) : stored;
    },
    toStored(weight) {
      const { data } = transpose ? transposed(weight) : weight;
      if (tensor.dtype === "float16") {
        return { dtype: "float16", shape, data: Uint16Array.from(data, toFloat16Bits) };
      }
      if (tensor.dtype === "bfloat16") {
        return { dtype: "bfloat16", shape, data: Uint16Array.from(data, toBfloat16Bits) };
      }
      return { dtype: "float32", shape, data };
    },
  };
}
