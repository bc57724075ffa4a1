/**
 * Cuts a graph at the values that do not depend on some weights: what comes before is run once and kept, what comes
 * after is run again for every candidate of those weights.
 */
import type { Feeds, FeedTensor } from "../core/feeds.ts";
import { dtypes, fromBfloat16Bits } from "../core/tensor.ts";
import {
  attribute,
  editModel,
  extractSubgraph,
  type Graph,
  type Model,
  partInput,
  readBy,
  storedConstant,
  type ValueInfo,
} from "../onnx/index.ts";

export interface Suffix {
  /** Takes the frontier values, the weights, and the other inputs it still needs. */
  readonly model: Model;
  /** The values it takes, by their names in the whole graph. */
  readonly inputs: readonly string[];
  /** Its feeds, of these values those that it takes. */
  feeds(values: Feeds): Feeds;
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
    const inputs = readBy(node);
    if (inputs.some((input) => dependent.has(input))) {
      for (const output of node.outputs) dependent.add(output);
      for (const input of inputs) {
        if (!dependent.has(input) && !constant.has(input)) frontier.add(input);
      }
    } else if (inputs.every((input) => constant.has(input))) {
      for (const output of node.outputs) constant.add(output);
    }
  }
  return [...frontier];
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
 * @param types - one run's frontier values: their element types and ranks.
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
    ...Object.entries(types).map(([name, tensor]) => partInput(name, tensor)),
    ...weights.flatMap((name) => {
      const tensor = storedConstant(graph, name);
      return tensor ? [{ name, dtype: tensor.dtype, shape: tensor.shape }] : [];
    }),
  ];
  const part = extractSubgraph(model, {
    inputs,
    outputs: graph.outputs.filter(({ name }) => results.includes(name)),
  });
  const names = part.graph.inputs.map(({ name }) => name);
  const editor = editModel(part);
  // The JavaScript API of ONNX Runtime has no bfloat16 tensors: such a value comes in as float32, without loss.
  const widened = new Map<string, string>();
  for (const { name, dtype, shape } of part.graph.inputs) {
    if (dtype !== "bfloat16") continue;
    const wide = editor.uniqueName(`${name}_float32`);
    editor.removeInput(name);
    editor.addInput({ name: wide, dtype: "float32", shape });
    const to = attribute.int(dtypes.bfloat16.code);
    const node = editor.uniqueName("bitloom_Cast");
    editor.addNodes([
      { name: node, opType: "Cast", inputs: [wide], outputs: [name], attributes: { to } },
    ]);
    widened.set(name, wide);
  }
  return {
    model: widened.size > 0 ? editor.commit() : part,
    inputs: names,
    feeds: (values) =>
      Object.fromEntries(
        names
          .filter((name) => name in values)
          .map((name) => {
            const wide = widened.get(name);
            return wide ? [wide, toFloat(values[name])] : [name, values[name]];
          }),
      ),
  };
}

/** A bfloat16 tensor as float32. */
function toFloat({ dtype, shape, data }: FeedTensor): FeedTensor {
  const bits = data as Uint16Array;
  return dtype === "bfloat16"
    ? { dtype: "float32", shape, data: Float32Array.from(bits, fromBfloat16Bits) }
    : { dtype, shape, data };
}
