/**
 * Which value the output of a layer is added to: the residual stream, where the errors of all layers before it are.
 * Pure: looks at the graph only.
 */
import type { Layer } from "../../core/layer.ts";
import { type Graph, type Node, readBy } from "../../onnx/index.ts";

/** Operators whose first two inputs are added up. */
const additions: ReadonlySet<string> = new Set([
  "Add",
  "SkipLayerNormalization",
  "SkipSimplifiedLayerNormalization",
]);

/**
 * The other summand of a layer's output, found through the addition of a bias.
 *
 * @param readers - nodes by the values that they read.
 * @param constant - values that are the same in every run.
 * @returns undefined where the output goes elsewhere too, where it is not X Wᵀ row by row (convolutions, transposed
 *   inputs, Gemm with a factor, several uses), or where nothing is added.
 *
 * Cost: O(1).
 */
export function residualOf(
  graph: Graph,
  layer: Layer,
  readers: ReadonlyMap<string, readonly Node[]>,
  constant: ReadonlySet<string>,
): string | undefined {
  const [use, ...more] = layer.uses;
  if (more.length > 0 || layer.groups > 1 || use.window) return undefined;
  const attributes = graph.producer(use.output)?.attributes;
  const transA = attributes?.get("transA");
  if (transA?.type === "int" && transA.value !== 0) return undefined;
  const alpha = attributes?.get("alpha");
  if (alpha?.type === "float" && alpha.value !== 1) return undefined;
  const other = summand(use.output, readers);
  if (other === undefined || !constant.has(other.value)) return other?.value;
  const [sum] = other.node.outputs;
  const next = summand(sum, readers);
  return next && constant.has(next.value) ? undefined : next?.value;
}

/** What a value is added to by the only node that reads it. */
function summand(value: string, readers: ReadonlyMap<string, readonly Node[]>) {
  const [node, ...others] = readers.get(value) ?? [];
  if (!node || others.length > 0 || !additions.has(node.opType)) return undefined;
  const [a, b] = node.inputs;
  const other = a === value ? b : a;
  return other && other !== value && (a === value || b === value)
    ? { node, value: other }
    : undefined;
}

/** The nodes that read each value. */
export function readersOf(nodes: Iterable<Node>): Map<string, Node[]> {
  const readers = new Map<string, Node[]>();
  for (const node of nodes) {
    for (const value of readBy(node)) {
      const list = readers.get(value);
      if (list) list.push(node);
      else readers.set(value, [node]);
    }
  }
  return readers;
}
