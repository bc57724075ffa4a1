/**
 * Transformer blocks, found from the residual stream: an Add whose one operand (the skip) is an ancestor of the other
 * (the branch), with at least one layer on the branch. Names of nodes play no part.
 */
import type { Layer } from "../core/layer.ts";
import type { Block } from "../core/stats.ts";
import { type Graph, type Node, storedConstant } from "../onnx/index.ts";

/** ONNX Runtime's fused Add and norm: inputs 0 and 1 are added, output 0 is the norm, output 3 (if asked for) the sum. */
const fusedResidualOperators = new Set([
  "SkipLayerNormalization",
  "SkipSimplifiedLayerNormalization",
]);
const attentionOperators = new Set([
  "Attention",
  "MultiHeadAttention",
  "GroupQueryAttention",
  "PagedAttention",
  "SparseAttention",
]);
/** What follows from a shape does not carry the stream. */
const shapeOperators = new Set(["Shape", "Size"]);

interface Residual {
  readonly skip: string;
  /** The value that carries the stream on. */
  readonly sum: string;
  readonly layers: readonly Layer[];
  readonly attention: boolean;
}

/**
 * Groups residual branches into blocks: a block starts at a branch with attention (a product of two computed values)
 * and takes the branches after it up to the next such; in a graph without attention every branch is a block.
 *
 * A block's input is the skip of its first branch, its output the skip of the next block (so a normalisation after
 * the Add, as in post-norm models, belongs to the block), or its last Add at the end.
 *
 * Cost: O(nodes) for each Add of two computed values, of those nodes only that lie between the older operand and the
 * Add. Source: the block of LIM (Dumitru et al. 2024), defined on graphs by us.
 */
export function findBlocks(graph: Graph, layers: readonly Layer[]): readonly Block[] {
  const residuals = findResiduals(graph, layers);
  const starts = residuals.some(({ attention }) => attention)
    ? residuals.flatMap((residual, i) => (residual.attention ? [i] : []))
    : residuals.map((_, i) => i);
  return starts.map((start, i) => {
    const end = starts[i + 1] ?? residuals.length;
    const members = residuals.slice(start, end);
    return {
      name: `block ${i}`,
      input: members[0].skip,
      output: residuals[end]?.skip ?? residuals[end - 1].sum,
      layers: [...new Set(members.flatMap((member) => member.layers.map((layer) => layer.id)))],
    };
  });
}

function findResiduals(graph: Graph, layers: readonly Layer[]): Residual[] {
  const layerOf = new Map(
    layers.flatMap((layer) => layer.uses.map((use) => [use.node, layer] as const)),
  );
  const order = new Map(graph.nodes.map((node, index) => [node, index]));
  const found: Residual[] = [];
  const adds = new Set<Node>();
  for (const add of graph.nodes) {
    const isFused = fusedResidualOperators.has(add.opType);
    if (!isFused && add.opType !== "Add") continue;
    const [a, b] = add.inputs;
    if (storedConstant(graph, a) || storedConstant(graph, b)) continue;
    for (const [skip, end] of [
      [a, b],
      [b, a],
    ]) {
      const branch = nodesBetween(graph, order, skip, end);
      const inside = [...branch].flatMap((node) => layerOf.get(node.name) ?? []);
      // A branch that holds an earlier residual is a longer skip around it, not a step of the stream.
      if (inside.length === 0 || [...branch].some((node) => adds.has(node))) continue;
      adds.add(add);
      found.push({
        skip,
        sum: (isFused && add.outputs[3]) || add.outputs[0],
        layers: [...new Set(inside)],
        attention: hasAttention(graph, branch),
      });
      break;
    }
  }
  return found;
}

/** The nodes on any path from value `from` to value `to`, without the node that makes `from`. */
function nodesBetween(
  graph: Graph,
  order: ReadonlyMap<Node, number>,
  from: string,
  to: string,
): ReadonlySet<Node> {
  const source = graph.producer(from);
  // The norm that a fused Add also gives starts the branch in place of the sum.
  const starts = source && fusedResidualOperators.has(source.opType) ? source.outputs : [from];
  const oldest = source ? (order.get(source) ?? 0) : -1;
  const end = graph.producer(to);
  const candidates = new Set<Node>();
  const pending = end ? [end] : [];
  for (let node = pending.pop(); node; node = pending.pop()) {
    // Nodes are in topological order: what comes before `from` cannot depend on it.
    if (candidates.has(node) || (order.get(node) ?? 0) <= oldest) continue;
    if (shapeOperators.has(node.opType)) continue;
    candidates.add(node);
    for (const input of node.inputs) {
      const parent = graph.producer(input);
      if (parent) pending.push(parent);
    }
  }
  const between = new Set<Node>();
  const reached = new Set(starts);
  const inOrder = [...candidates].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  for (const node of inOrder) {
    if (!node.inputs.some((input) => reached.has(input))) continue;
    between.add(node);
    for (const output of node.outputs) reached.add(output);
  }
  return between;
}

function hasAttention(graph: Graph, branch: ReadonlySet<Node>): boolean {
  const isInside = (value: string) => {
    const producer = graph.producer(value);
    return producer !== undefined && branch.has(producer);
  };
  return [...branch].some(
    ({ opType, inputs }) =>
      attentionOperators.has(opType) || (opType === "MatMul" && inputs.every(isInside)),
  );
}
