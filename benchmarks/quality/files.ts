/**
 * Quality of model files, whoever wrote them, on the windows that plans are measured on; and what of such a file are
 * weights.
 */
import {
  chooseLoss,
  createRuntime,
  evaluateModels,
  findLayers,
  type Graph,
  type Model,
  openDataset,
  openModel,
  type Quality,
} from "../../src/index.ts";
import type { Subject } from "../harness/subject.ts";

export interface WrittenFile {
  readonly quality: Quality;
  /** Bytes of the quantizable weights as this file stores them, and as the float file does. */
  readonly bytes: number;
  readonly floatBytes: number;
  /** Quantizable layers that the file holds as they were. */
  readonly floatLayers: readonly string[];
}

/** Measures one file against the float model. */
export async function measureFile(subject: Subject, path: string): Promise<WrittenFile> {
  const { evaluate, tokenizer, window, evaluateRows, seed } = subject.data;
  const [float, quantized] = await Promise.all([openModel(subject.model), openModel(path)]);
  const { graph, path: modelPath } = float;
  const source = { path: evaluate, tokenizer, window, rows: evaluateRows, seed };
  const dataset = await openDataset({ ...source, graph, modelPath });
  const runtime = createRuntime({ threads: 2 });
  try {
    const loss = chooseLoss(graph, dataset);
    const models = { float, quantized: [quantized] };
    const [quality] = await evaluateModels({ ...models, dataset, loss, runtime });
    return { quality, ...storedWeights(float, quantized) };
  } finally {
    await runtime.close();
  }
}

/**
 * All tensors of the file that are read, less those of the float model that are no quantizable weights: what the
 * weights became, scales and zero points included, and weights that were left in float.
 */
export function storedWeights(float: Model, quantized: Model): Omit<WrittenFile, "quality"> {
  const { layers } = findLayers(float.graph);
  const [own, theirs] = [float, quantized].map(({ graph }) => tensorsOf(graph));
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((total, bytes) => total + bytes, 0);
  const weights = layers.map(({ weight }) => own.get(weight) ?? 0);
  return {
    bytes: sum(theirs.values()) - (sum(own.values()) - sum(weights)),
    floatBytes: sum(weights),
    floatLayers: layers
      .filter(({ weight }) => theirs.get(weight) === own.get(weight))
      .map(({ id }) => id),
  };
}

/**
 * Bytes of initializers and Constant nodes, by the value's name. Those that nobody reads do not count: some tools leave
 * the float weights behind, which any other tool removes.
 */
function tensorsOf(graph: Graph): Map<string, number> {
  const sizes = new Map(
    [...graph.initializers].map(([name, { byteLength }]) => [name, byteLength]),
  );
  for (const { opType, outputs, attributes } of graph.nodes) {
    const value = attributes.get("value");
    if (opType === "Constant" && value?.type === "tensor") {
      sizes.set(outputs[0], value.value.byteLength);
    }
  }
  const isRead = (name: string) => graph.uses(name).length > 0 || graph.readInSubgraph(name);
  return new Map([...sizes].filter(([name]) => isRead(name)));
}
