/** The statistics stage: collects what the methods need and says where the data is thin. */
import { type ArrayStore, calibrate, type NeededStats, needsOf } from "../calibrate/index.ts";
import type { Dataset } from "../core/dataset.ts";
import type { RunOptions } from "../core/events.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerStats } from "../core/stats.ts";
import type { WorkerRuntime } from "../runtime/index.ts";
import { fewRows, rowsPerInput, thinLayers } from "./rows.ts";
import type { Subject } from "./subject.ts";

export interface StatisticsOptions extends RunOptions {
  readonly subject: Subject;
  readonly dataset: Dataset;
  readonly needs: NeededStats;
  readonly runtime: WorkerRuntime;
  readonly memoryLimitBytes?: number | undefined;
  readonly arrays?: ArrayStore | undefined;
}

/** Statistics of all layers; with a notice where no row reached a layer or the data is thin for a Hessian. */
export async function collectStatistics(
  options: StatisticsOptions,
): Promise<ReadonlyMap<LayerId, LayerStats>> {
  const { subject, dataset, needs, runtime, memoryLimitBytes, arrays, signal, onEvent } = options;
  const { model, layers, blocks } = subject;
  const stats = (await calibrate({
    model,
    layers,
    blocks,
    dataset,
    needs,
    runtime,
    memoryLimitBytes,
    arrays,
    signal,
    onEvent,
  })) as ReadonlyMap<LayerId, LayerStats>;
  // Without needs nothing is counted.
  const isCounted = layers.some((layer) => needsOf(needs, layer).length > 0);
  const unseen = layers.filter(({ id }) => isCounted && stats.get(id)?.tokens === 0);
  if (unseen.length > 0) {
    onEvent?.({
      type: "notice",
      notice: {
        code: "no-rows",
        message: `${unseen.length} layers saw no row of the calibration data ("${unseen[0].id}" first): they are rounded and judged by their weights alone. Give data that reaches them with --calibration, or more with --rows.`,
      },
    });
  }
  // Of layers that are known to be thin it has been said before.
  const said = new Set(thinLayers(layers, dataset));
  const thin = layers.filter((layer) => {
    if (!needsOf(needs, layer).includes("hessian")) return false;
    const entry = stats.get(layer.id);
    const isThin = entry?.hessian && entry.tokens > 0 && entry.tokens < rowsPerInput * layer.k;
    return isThin && !said.has(layer);
  });
  if (thin.length > 0) onEvent?.({ type: "notice", notice: fewRows(thin, "saw") });
  return stats;
}
