/**
 * Transformer blocks, found from the residual stream: an Add whose one operand (the skip) is an ancestor of the other
 * (the branch), with at least one layer on the branch. Names of nodes play no part.
 */
import type { Layer } from "../core/layer.ts";
import type { Block } from "../core/stats.ts";
import type { Graph, Node } from "../onnx/index.ts";

/** Operators that add a skip to a branch: the plain Add, and ONNX Runtime's fused forms (inputs 0 and 1). */
const residualOperators = new Set([
  "Add",
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

interface Residual {
  readonly add: Node;
  readonly skip: string;
  readonly branch: ReadonlySet<string>;
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
 * Cost: O(residual candidates · nodes). Source: the block of LIM (Dumitru et al. 2024), defined on graphs by us.
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
      output: residuals[end]?.skip ?? residuals[end - 1].add.outputs[0],
      layers: members.flatMap((member) => member.layers.map((layer) => layer.id)),
    };
  });
}

function findResiduals(graph: Graph, layers: readonly Layer[]): Residual[] {
  const layerOf = new Map(
    layers.flatMap((layer) => layer.uses.map((use) => [use.node, layer] as const)),
  );
  const found: Residual[] = [];
  const taken = new Set<string>();
  for (const add of graph.nodes) {
    if (!residualOperators.has(add.opType)) continue;
    const [a, b] = add.inputs;
    for (const [skip, end] of [
      [a, b],
      [b, a],
    ]) {
      const branch = nodesBetween(graph, skip, end);
      const inside = [...branch].flatMap((name) => layerOf.get(name) ?? []);
      // A branch that holds an earlier residual is a longer skip around it, not a step of the stream.
      if (inside.length === 0 || [...branch].some((name) => taken.has(name))) continue;
      taken.add(add.name);
      found.push({
        add,
        skip,
        branch,
        layers: [...new Set(inside)],
        attention: hasAttention(graph, branch),
      });
      break;
    }
  }
  return found;
}

/** Names of the nodes on any path from value `from` to value `to`. */
function nodesBetween(graph: Graph, from: string, to: string): Set<string> {
  const end = graph.producer(to);
  if (!end || from === to || graph.initializers.has(from)) return new Set();
  const reaches = new Map<Node, boolean>();
  const visit = (root: Node) => {
    const stack = [root];
    while (stack.length > 0) {
      const node = stack[stack.length - 1];
      const parents = node.inputs.flatMap((input) =>
        input === from ? [] : (graph.producer(input) ?? []),
      );
      const pending = parents.filter((parent) => !reaches.has(parent));
      if (pending.length > 0) {
        stack.push(...pending);
        continue;
      }
      stack.pop();
      reaches.set(
        node,
        node.inputs.includes(from) || parents.some((parent) => reaches.get(parent)),
      );
    }
  };
  visit(end);
  return new Set([...reaches].flatMap(([node, yes]) => (yes ? [node.name] : [])));
}

function hasAttention(graph: Graph, branch: ReadonlySet<string>): boolean {
  return graph.nodes.some(
    (node) =>
      branch.has(node.name) &&
      (attentionOperators.has(node.opType) ||
        (node.opType === "MatMul" &&
          node.inputs.every((input) => branch.has(graph.producer(input)?.name ?? "")))),
  );
}
