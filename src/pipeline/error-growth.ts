/**
 * How the error grows on its way through the network, for the report: of the model whose layers were rounded one after
 * the other, and of the one whose layers were rounded by themselves. Nothing is decided by it.
 */
import { walkStreams } from "../calibrate/index.ts";
import type { Dataset } from "../core/dataset.ts";
import { isBitloomError } from "../core/errors.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerScore } from "../core/plan.ts";
import { dequantize } from "../core/quantized.ts";
import type { Matrix } from "../core/tensor.ts";
import type { ErrorGrowthReport } from "../report/index.ts";
import type { Run } from "./run.ts";
import type { WeightStore } from "./weights.ts";

/** A curve needs few samples: each has as many rows as it has tokens or positions. */
export const growthSamples = 8;

/**
 * Walks through both models beside the float one.
 *
 * @param run - with the weights of layers rounded by themselves.
 * @param sequential - the weights of layers rounded one after the other.
 * @returns null where a model's activations are not finite on these samples.
 *
 * Cost: four forward passes over at most eight samples, see `walkStreams`.
 */
export async function measureGrowth(
  run: Run,
  sequential: WeightStore,
  picks: readonly LayerScore[],
): Promise<ErrorGrowthReport | null> {
  const dataset = someOf(run.data.gate);
  try {
    const after = await driftOf(run, sequential, picks, dataset);
    // Where plans were made with weights rounded to nearest, the other model does not exist.
    const alone = run.plansRounded ? undefined : await driftOf(run, run.weights, picks, dataset);
    return {
      samples: dataset.samples,
      layers: run.subject.layers.map(({ id }) => ({
        layer: id,
        sequential: after.get(id) ?? null,
        oneShot: alone?.get(id) ?? null,
      })),
    };
  } catch (error) {
    if (isBitloomError(error, "numeric")) return null;
    throw error;
  }
}

async function driftOf(
  { subject, runtime, memoryLimitBytes, options, journal }: Run,
  weights: WeightStore,
  picks: readonly LayerScore[],
  dataset: Dataset,
): Promise<ReadonlyMap<LayerId, number | null>> {
  const formats = new Map(
    picks.flatMap(({ layer, format }) =>
      format.kind === "integer" ? [[layer, format] as const] : [],
    ),
  );
  const drifts = new Map<LayerId, number | null>();
  await walkStreams({
    model: subject.model,
    layers: subject.layers.filter(({ id }) => formats.has(id)),
    dataset,
    runtime,
    memoryLimitBytes,
    needsHoldout: false,
    needsResidual: false,
    onlyDrift: true,
    isFinished: () => false,
    async round({ layers, relativeDrift }) {
      const rounded = new Map<LayerId, Matrix>();
      for (const layer of layers) {
        const format = formats.get(layer.id);
        if (!format) continue;
        drifts.set(layer.id, relativeDrift);
        rounded.set(layer.id, dequantize(await weights.codes(layer, format)));
      }
      return rounded;
    },
    signal: options.signal,
    onEvent: (event) =>
      journal.emit(event.type === "progress" ? { ...event, stage: "growth" } : event),
  });
  return drifts;
}

/** The first samples; all where so few do not make a batch. */
function someOf(dataset: Dataset): Dataset {
  if (dataset.samples <= growthSamples) return dataset;
  try {
    return dataset.select(Array.from({ length: growthSamples }, (_, at) => at));
  } catch (error) {
    if (isBitloomError(error, "bad-data")) return dataset;
    throw error;
  }
}
