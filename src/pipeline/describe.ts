/**
 * What became of each layer, for the report; quantizes layers that no stage has needed yet.
 */
import { throwIfAborted } from "../core/errors.ts";
import { yieldToEventLoop } from "../core/events.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import { dequantize } from "../core/quantized.ts";
import { dtypes, type Matrix, roundToFloat16 } from "../core/tensor.ts";
import { jsonDb, type ReportedLayer } from "../report/index.ts";
import type { Choice } from "./choice.ts";
import { stepsOf } from "./decision.ts";
import { layerSqnrDb } from "./noise.ts";
import { describeOutliers } from "./outliers.ts";
import type { Run } from "./run.ts";

/** One entry per layer, in graph order; emits a `layer` event for each. */
export async function describeLayers(run: Run, choice: Choice): Promise<ReportedLayer[]> {
  const { subject, stats, journal, options } = run;
  const picks = new Map(choice.picks.map((pick) => [pick.layer, pick]));
  const steps = stepsOf(choice);
  const reported: ReportedLayer[] = [];
  for (const layer of subject.layers) {
    throwIfAborted(options.signal, "quantization");
    await yieldToEventLoop();
    const pick = picks.get(layer.id);
    if (!pick) continue;
    const start = performance.now();
    const { format, bytes, loss } = pick;
    const written = await writtenWeight(run, layer, format);
    const sqnrDb = await layerSqnrDb(layer, written, stats.get(layer.id), run.algebra);
    const elapsedMs = performance.now() - start;
    journal.emit({ type: "layer", layer: layer.id, format: format.id, loss, sqnrDb, elapsedMs });
    const total = subject.layers.length;
    journal.emit({ type: "progress", stage: "quantize", done: reported.length + 1, total });
    const { nextUpgrade = null, lastDowngrade = null } = steps.get(layer.id) ?? {};
    reported.push({
      name: layer.id,
      opType: layer.opType,
      weight: layer.weight,
      shape: [layer.n, layer.k],
      block: subject.blocks.find(({ layers }) => layers.includes(layer.id))?.name ?? null,
      format: format.id,
      bits: writtenBits(layer, format),
      bytes,
      loss,
      sqnrDb: jsonDb(sqnrDb),
      nextUpgrade,
      lastDowngrade,
      outliers: describeOutliers(await layer.readWeight(), stats.get(layer.id)),
    });
  }
  return reported;
}

/** Bits per weight in the file: a layer left as it is keeps its stored width. */
function writtenBits(layer: Layer, format: WeightFormat): number {
  const stored = dtypes[layer.dtype].bits;
  return format.kind === "float" ? Math.min(format.bits, stored) : format.bits;
}

/** The weight as a runtime will see it. */
async function writtenWeight(run: Run, layer: Layer, format: WeightFormat): Promise<Matrix> {
  if (format.kind === "integer") return dequantize(await run.weights.codes(layer, format));
  const weight = await layer.readWeight();
  return format.bits === 16 ? { ...weight, data: weight.data.map(roundToFloat16) } : weight;
}
