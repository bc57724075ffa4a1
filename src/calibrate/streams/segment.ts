/**
 * The models of one step: its nodes with float weights, and with the weights rounded so far; Gram matrices of the
 * activations are compiled in, so that activations leave the session only to be kept.
 */
import type { FeedTensor } from "../../core/feeds.ts";
import type { Layer } from "../../core/layer.ts";
import { bytesOf, type DType, elementCount } from "../../core/tensor.ts";
import {
  createTap,
  editModel,
  extractSubgraph,
  type Graph,
  type GraphTap,
  type Model,
  memoryTensor,
} from "../../onnx/index.ts";
import { activationRows, groupProducts, products } from "../statistic.ts";
import type { StreamStep } from "./plan.ts";

export interface Segment {
  readonly model: Model;
  /** Kept values and feeds that it takes. */
  readonly inputs: readonly string[];
  /** Values that it gives to be kept. */
  readonly outputs: readonly string[];
  /** The float activations that it takes beside its own, by the activation's name. */
  readonly floatInputs: ReadonlyMap<string, string>;
  readonly grams: GramOutputs | undefined;
  /** Of the initializers that its nodes read, as float32. */
  readonly weightBytes: number;
}

/** Names of the outputs that are summed over the batches. */
export interface GramOutputs {
  /** Σ x̂ᵀx̂, float32 [G, K, K], [K, K] where G is 1. */
  readonly hessian: string;
  /** Σ (x − x̂)ᵀx̂ of the same shape; undefined where the streams agree. */
  readonly drift: string | undefined;
  /** Number of elements of the activations, int64. */
  readonly size: string;
  /** Σ ‖x‖², and Σ ‖x − x̂‖². */
  readonly power: string;
  readonly driftPower: string | undefined;
}

export interface SegmentOptions {
  readonly model: Model;
  readonly step: StreamStep;
  /** Those of the step's outputs that this stream keeps. */
  readonly outputs: readonly string[];
  /** Element types of the kept values. */
  readonly dtypes: ReadonlyMap<string, DType>;
  /** Stored tensors of the rounded layers, in the form the file has them. */
  readonly weights: ReadonlyMap<string, FeedTensor>;
  /** "own": Gram matrices of this stream alone; "drift": with the float activations as further inputs. */
  readonly measure: "own" | "drift" | "nothing";
}

/** Cost: O(nodes of the model); no tensor is read. */
export function buildSegment(options: SegmentOptions): Segment {
  const { model, step, outputs, dtypes, weights, measure } = options;
  const { activations, layers } = step;
  const measured = measure === "nothing" ? [] : activations;
  const isFeed = (value: string) => model.graph.inputs.some(({ name }) => name === value);
  const part = extractSubgraph(model, {
    inputs: step.inputs.map((name) => ({ name, dtype: dtypes.get(name), shape: undefined })),
    outputs: [...new Set([...outputs, ...measured])]
      .filter((value) => !isFeed(value) && !step.inputs.includes(value))
      .map((name) => ({ name, dtype: undefined, shape: undefined })),
  });
  const editor = editModel(part);
  const { graph } = part;
  const present = new Set(graph.inputs.map(({ name }) => name));
  for (const value of measured) {
    // A feed that is measured, but that no node of the step reads.
    const info = present.has(value)
      ? undefined
      : model.graph.inputs.find(({ name }) => name === value);
    if (info) editor.addInput(info);
  }
  for (const [name, tensor] of weights) replaceConstant(graph, editor, name, tensor);
  const tap = createTap(editor);
  const floatInputs = new Map<string, string>();
  if (measure === "drift") {
    for (const value of activations) {
      const name = editor.uniqueName(`${value}_float`);
      editor.addInput({
        name,
        dtype: dtypes.get(value) ?? activationType(layers, value),
        shape: undefined,
      });
      floatInputs.set(value, name);
    }
  }
  const grams = measured.length > 0 ? tapGrams(tap, model, layers[0], floatInputs) : undefined;
  // Values that were only exposed to keep their nodes.
  for (const { name } of graph.outputs) if (!outputs.includes(name)) editor.removeOutput(name);
  const made = editor.commit();
  const own = new Set(floatInputs.values());
  return {
    model: made,
    inputs: made.graph.inputs.map(({ name }) => name).filter((name) => !own.has(name)),
    outputs: outputs.filter((name) => made.graph.outputs.some((output) => output.name === name)),
    floatInputs,
    grams,
    weightBytes: floatBytes(made.graph),
  };
}

const floatBytes = ({ initializers }: Graph): number =>
  [...initializers.values()].reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);

/** Puts another tensor under the name of an initializer or of a Constant node's output. */
function replaceConstant(
  graph: Graph,
  editor: ReturnType<typeof editModel>,
  name: string,
  { dtype, shape, data }: FeedTensor,
): void {
  const producer = graph.producer(name);
  if (producer) editor.removeNode(producer.name);
  else if (graph.initializers.has(name)) editor.removeInitializer(name);
  else return;
  editor.addInitializer(memoryTensor(name, dtype, shape, bytesOf(data as Float32Array)));
}

const activationType = (layers: readonly Layer[], value: string): DType | undefined =>
  layers.flatMap(({ uses }) => uses).find(({ activation }) => activation === value)?.dtype;

function tapGrams(
  tap: GraphTap,
  model: Model,
  layer: Layer,
  floatInputs: ReadonlyMap<string, string>,
): GramOutputs {
  const parts = products(layer).map((use) => {
    const x = activationRows(tap, model, layer, use);
    const name = floatInputs.get(use.activation);
    const given = name && activationRows(tap, model, layer, { ...use, activation: name });
    const drift = given && tap.op("Sub", [given, x]);
    return {
      hessian: groupProducts(tap, x, x, layer, use),
      drift: drift && groupProducts(tap, drift, x, layer, use),
      size: tap.op("Size", [x]),
      power: tap.reduce("ReduceSumSquare", given ?? x),
      driftPower: drift && tap.reduce("ReduceSumSquare", drift),
    };
  });
  const total = (pick: (part: (typeof parts)[number]) => string | undefined) => {
    const values = parts.map(pick).filter((value) => value !== undefined);
    if (values.length === 0) return undefined;
    const sum = values.reduce((sum, value) => tap.op("Add", [sum, value]));
    return tap.expose(tap.op("Identity", [sum]), undefined);
  };
  return {
    hessian: total(({ hessian }) => hessian) as string,
    drift: total(({ drift }) => drift),
    size: total(({ size }) => size) as string,
    power: total(({ power }) => power) as string,
    driftPower: total(({ driftPower }) => driftPower),
  };
}
