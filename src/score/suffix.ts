/**
 * Cuts a graph at the values that do not depend on some weights: what comes before is run once and kept, what comes
 * after is run again for every candidate of those weights.
 */
import type { Feeds } from "../core/feeds.ts";
import {
  extractSubgraph,
  type Graph,
  type Model,
  type Node,
  storedConstant,
  type ValueInfo,
} from "../onnx/index.ts";

export interface Suffix {
  /** Takes the frontier values, the weights, and the other inputs it still needs. */
  readonly model: Model;
  readonly inputs: readonly string[];
}

/**
 * Values computed from graph inputs (and those inputs themselves) that nodes depending on `weights` read: the cut.
 * Constants are no part of it, whether initializers or computed from constants only; nor are the weights.
 */
export function frontierOf(graph: Graph, weights: readonly string[]): readonly string[] {
  const dependent = new Set(weights);
  const constant = new Set<string>(graph.initializers.keys());
  const frontier = new Set<string>();
  for (const node of graph.nodes) {
    const inputs = node.inputs.filter((input) => input !== "");
    const captured = capturedBy(node);
    if ([...inputs, ...captured].some((input) => dependent.has(input))) {
      for (const output of node.outputs) dependent.add(output);
      for (const input of [...inputs, ...captured]) {
        if (!dependent.has(input) && !constant.has(input)) frontier.add(input);
      }
    } else if ([...inputs, ...captured].every((input) => constant.has(input))) {
      for (const output of node.outputs) constant.add(output);
    }
  }
  return [...frontier];
}

function capturedBy(node: Node): readonly string[] {
  return [...node.attributes.values()].flatMap((attribute) =>
    attribute.type === "graph" || attribute.type === "opaque" ? attribute.captures : [],
  );
}

/** The nodes that compute `values` from the graph's own inputs. */
export function prefixModel(model: Model, values: readonly string[]): Model {
  return extractSubgraph(model, {
    inputs: model.graph.inputs,
    outputs: values.map((name) => ({ name, dtype: undefined, shape: undefined })),
  });
}

/**
 * The part of `model` after the frontier, with the weights as inputs.
 *
 * @param types - one run's frontier values: their element types.
 */
export function suffixModel(
  model: Model,
  weights: readonly string[],
  types: Feeds,
  results: readonly string[],
): Suffix {
  const { graph } = model;
  // Initializers that are inputs too would do, but the JavaScript API of ONNX Runtime cannot feed those.
  const inputs: ValueInfo[] = [
    ...graph.inputs.filter(({ name }) => !(name in types)),
    ...Object.entries(types).map(([name, { dtype }]) => ({ name, dtype, shape: undefined })),
    ...weights.flatMap((name) => {
      const tensor = storedConstant(graph, name);
      return tensor ? [{ name, dtype: tensor.dtype, shape: tensor.shape }] : [];
    }),
  ];
  const part = extractSubgraph(model, {
    inputs,
    outputs: graph.outputs.filter(({ name }) => results.includes(name)),
  });
  return { model: part, inputs: part.graph.inputs.map(({ name }) => name) };
}
