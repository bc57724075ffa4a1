/**
 * The models of one step: its nodes with float weights, and with the weights rounded so far; Gram matrices of the
 * activations are compiled in, so that activations leave the session only to be kept.
 */
import type { FeedTensor } from "../../core/feeds.ts";
import type { Layer, LayerUse } from "../../core/layer.ts";
import { bytesOf, type DType, elementCount } from "../../core/tensor.ts";
import {
  createTap,
  editModel,
  extractSubgraph,
  type Graph,
  type GraphTap,
  type Model,
  memoryTensor,
  partInput,
} from "../../onnx/index.ts";
import { activationRows, groupProducts, products } from "../statistic.ts";
import type { StreamStep } from "./plan.ts";

export interface Segment {
  readonly model: Model;
  /** Kept values and feeds that it takes. */
  readonly inputs: readonly string[];
  /** Values that it gives to be kept. */
  readonly outputs: readonly string[];
  /** The values of the float stream that it takes beside its own, by their names there. */
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
  /** Σ (r − r̂)ᵀx̂, float32 [N, K], r being what the layer's output is added to; undefined where it is not measured. */
  readonly residualDrift: string | undefined;
  /** Number of elements of the activations, int64. */
  readonly size: string;
  /** Σ ‖x‖², and Σ ‖x − x̂‖². */
  readonly power: string;
  readonly driftPower: string | undefined;
}

/** What is known of a value before its next reader runs. */
export interface ValueType {
  readonly dtype: DType;
  readonly shape: readonly unknown[] | undefined;
}

export interface SegmentOptions {
  readonly model: Model;
  readonly step: StreamStep;
  /** Those of the step's outputs that this stream keeps. */
  readonly outputs: readonly string[];
  /** Element types of feeds and kept values, and ranks of the latter. */
  readonly types: ReadonlyMap<string, ValueType>;
  /** Stored tensors of the rounded layers, in the form the file has them. */
  readonly weights: ReadonlyMap<string, FeedTensor>;
  /** "own": Gram matrices of this stream alone; "drift": with the float activations as further inputs. */
  readonly measure: "own" | "drift" | "nothing";
  /** "drift" measures what the step's residual couples with the activations too. */
  readonly needsResidual: boolean;
}

/** Cost: O(nodes of the model); no tensor is read. */
export function buildSegment(options: SegmentOptions): Segment {
  const { model, step, outputs, types, weights, measure } = options;
  const { activations, layers } = step;
  const residual =
    measure === "drift" && options.needsResidual && step.residual !== undefined
      ? step.residual
      : undefined;
  const compared = residual === undefined ? activations : [...activations, residual];
  const measured = measure === "nothing" ? [] : compared;
  const isFeed = (value: string) => model.graph.inputs.some(({ name }) => name === value);
  const isMade = step.nodes.some(
    (node) => residual !== undefined && node.outputs.includes(residual),
  );
  const given = residual === undefined || isMade || isFeed(residual) ? [] : [residual];
  const inputs = [...new Set([...step.inputs, ...given])];
  const part = extractSubgraph(model, {
    inputs: inputs.map((name) => partInput(name, types.get(name))),
    outputs: [...new Set([...outputs, ...measured])]
      .filter((value) => !isFeed(value) && !inputs.includes(value))
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
    for (const value of compared) {
      const name = editor.uniqueName(`${value}_float`);
      editor.addInput({
        name,
        dtype: types.get(value)?.dtype ?? elementType(layers, value),
        shape: undefined,
      });
      floatInputs.set(value, name);
    }
  }
  const grams =
    measured.length > 0 ? tapGrams(tap, model, layers[0], floatInputs, residual) : undefined;
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

/** Of an activation; of what a layer's output is added to it is the layer's own. */
const elementType = (layers: readonly Layer[], value: string): DType | undefined => {
  const uses = layers.flatMap(({ uses }) => uses);
  return (uses.find(({ activation }) => activation === value) ?? uses[0])?.dtype;
};

function tapGrams(
  tap: GraphTap,
  model: Model,
  layer: Layer,
  floatInputs: ReadonlyMap<string, string>,
  residual: string | undefined,
): GramOutputs {
  const parts = products(layer).map((use) => {
    const x = activationRows(tap, model, layer, use);
    const name = floatInputs.get(use.activation);
    const given = name && activationRows(tap, model, layer, { ...use, activation: name });
    const drift = given && tap.op("Sub", [given, x]);
    return {
      hessian: groupProducts(tap, x, x, layer, use),
      drift: drift && groupProducts(tap, drift, x, layer, use),
      residualDrift:
        residual === undefined
          ? undefined
          : residualProduct(tap, layer, use, residual, floatInputs),
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
    residualDrift: total(({ residualDrift }) => residualDrift),
    size: total(({ size }) => size) as string,
    power: total(({ power }) => power) as string,
    driftPower: total(({ driftPower }) => driftPower),
  };
}

/**
 * Σ (r − r̂)ᵀx̂ [N, K]. A sum may repeat either summand along dimensions of 1: r is then taken once for each row of x̂,
 * and of several rows of r that meet one of x̂ the mean counts, as the error of the output counts once.
 */
function residualProduct(
  tap: GraphTap,
  { n, k }: Layer,
  { activation }: LayerUse,
  residual: string,
  floatInputs: ReadonlyMap<string, string>,
): string {
  const float = floatInputs.get(residual) as string;
  const difference = tap.op("Sub", [tap.toFloat(float), tap.toFloat(residual)]);
  const x = tap.toFloat(activation);
  const differences = repeatedAs(tap, difference, x);
  const inputs = repeatedAs(tap, x, differences);
  const product = tap.op("MatMul", [
    tap.op("Transpose", [tap.rows(differences, n)]),
    tap.rows(inputs, k),
  ]);
  // Nothing is repeated where there are no rows.
  const count = (value: string) =>
    tap.op("Max", [tap.toFloat(tap.op("Size", [value])), tap.float(1)]);
  return tap.op("Div", [product, tap.op("Div", [count(inputs), count(x)])]);
}

/** The value, repeated along dimensions in which another one is longer; the last dimension of each is its own. */
function repeatedAs(tap: GraphTap, value: string, other: string): string {
  const sums = tap.reduce("ReduceSum", other, [-1], true);
  return tap.op("Add", [value, tap.op("Mul", [sums, tap.float(0)])]);
}
