/**
 * The models of one step: its nodes with float weights, and with the weights rounded so far.
 */
import type { FeedTensor } from "../../core/feeds.ts";
import { bytesOf, type DType, elementCount } from "../../core/tensor.ts";
import {
  editModel,
  extractSubgraph,
  type Graph,
  type Model,
  memoryTensor,
  partInput,
} from "../../onnx/index.ts";
import type { StreamStep } from "./plan.ts";

export interface Segment {
  readonly model: Model;
  /** Kept values and feeds that it takes. */
  readonly inputs: readonly string[];
  /** Values that it gives to be kept. */
  readonly outputs: readonly string[];
  /** Of the initializers that its nodes read, as float32. */
  readonly weightBytes: number;
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
}

/** Cost: O(nodes of the model); no tensor is read. */
export function buildSegment(options: SegmentOptions): Segment {
  const { model, step, outputs, types, weights } = options;
  const part = extractSubgraph(model, {
    inputs: step.inputs.map((name) => partInput(name, types.get(name))),
    outputs: outputs.map((name) => ({ name, dtype: undefined, shape: undefined })),
  });
  const editor = editModel(part);
  for (const [name, tensor] of weights) replaceConstant(part.graph, editor, name, tensor);
  const made = editor.commit();
  return {
    model: made,
    inputs: made.graph.inputs.map(({ name }) => name),
    outputs,
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
