/** A model on the test bench of the scorers: layers, blocks, statistics, candidates, probe. */
import { calibrate, openDataset, statistics } from "../../src/calibrate/index.ts";
import type { Dataset } from "../../src/core/dataset.ts";
import { parseFormat, type WeightFormat } from "../../src/core/format.ts";
import type { Layer } from "../../src/core/layer.ts";
import { defaultQuantizeOptions } from "../../src/core/method.ts";
import { dequantize } from "../../src/core/quantized.ts";
import type { ScoreInput } from "../../src/core/score.ts";
import type { LayerStats, StatName } from "../../src/core/stats.ts";
import { chooseLoss } from "../../src/evaluate/index.ts";
import { findBlocks, findLayers } from "../../src/layers/index.ts";
import type { Model } from "../../src/onnx/index.ts";
import { type quantizers, quantizeWeight } from "../../src/quantize/index.ts";
import type { WorkerRuntime } from "../../src/runtime/index.ts";
import { createLossProbe } from "../../src/score/index.ts";

/** Lowest width first, one block size and symmetry: losses must fall. */
export const widths = ["int2-b16", "int3-b16", "int4-b16", "int8-b16"].map(parseFormat);

export interface Bench {
  readonly model: Model;
  readonly dataset: Dataset;
  readonly input: ScoreInput;
  /** The same input for a run that `signal` may stop: the probe takes it too, as in the pipeline. */
  stoppable(signal: AbortSignal): ScoreInput;
}

/** Random tokens (or rows) of the model's own inputs. */
export function randomData(model: Model, seed = 1): Promise<Dataset> {
  return openDataset({ graph: model.graph, rows: 6, window: 8, batchSize: 4, seed });
}

export interface BenchOptions {
  readonly formats?: readonly WeightFormat[];
  readonly quantizer?: keyof typeof quantizers;
  readonly dataset?: Dataset;
}

/** Everything a scorer may ask for, with every statistic collected. */
export async function bench(
  model: Model,
  runtime: WorkerRuntime,
  { formats = widths, quantizer = "rtn", ...options }: BenchOptions = {},
): Promise<Bench> {
  const dataset = options.dataset ?? (await randomData(model));
  const { layers } = findLayers(model.graph);
  const blocks = findBlocks(model.graph, layers);
  const needs = Object.keys(statistics) as StatName[];
  const stats = await calibrate({ model, layers, blocks, dataset, needs, runtime });
  const by = (name: keyof typeof quantizers) => async (layer: Layer, format: WeightFormat) => {
    const entry = stats.get(layer.id) as LayerStats;
    const weight = await layer.readWeight();
    return dequantize(
      await quantizeWeight({ weight, format, stats: entry, options: defaultQuantizeOptions }, name),
    );
  };
  const loss = chooseLoss(model.graph, dataset);
  const probe = (signal?: AbortSignal) =>
    createLossProbe({ model, blocks, dataset, loss, runtime, signal });
  const input: ScoreInput = {
    candidates: layers.map((layer) => ({ layer, formats })),
    stats,
    blocks,
    rounded: by("rtn"),
    quantized: by(quantizer),
    probe: () => probe(),
    seed: 7,
  };
  return {
    model,
    dataset,
    input,
    stoppable: (signal) => ({ ...input, signal, probe: () => probe(signal) }),
  };
}

/** Σ (a − b)² by the definition. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
}
