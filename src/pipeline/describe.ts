/**
 * What became of each layer, for the report; quantizes layers that no stage has needed yet.
 */
import { marginalPrice } from "../allocate/index.ts";
import { throwIfAborted } from "../core/errors.ts";
import { yieldToEventLoop } from "../core/events.ts";
import { jsonDb, type ReportedLayer } from "../report/index.ts";
import type { Choice } from "./choice.ts";
import { layerSqnrDb } from "./noise.ts";
import type { Run } from "./run.ts";

/** One entry per layer, in graph order; emits a `layer` event for each. */
export async function describeLayers(run: Run, choice: Choice): Promise<ReportedLayer[]> {
  const { subject, weights, stats, journal, options } = run;
  const picks = new Map(choice.picks.map((pick) => [pick.layer, pick]));
  const prices = new Map(
    marginalPrice(choice.picks, choice.alternatives).map((price) => [price.layer, price]),
  );
  const reported: ReportedLayer[] = [];
  for (const layer of subject.layers) {
    throwIfAborted(options.signal, "quantization");
    await yieldToEventLoop();
    const pick = picks.get(layer.id);
    if (!pick) continue;
    const start = performance.now();
    const { format, bytes, loss } = pick;
    const sqnrDb =
      format.kind === "integer"
        ? await layerSqnrDb(layer, await weights.codes(layer, format), stats.get(layer.id))
        : Number.POSITIVE_INFINITY;
    const elapsedMs = performance.now() - start;
    journal.emit({ type: "layer", layer: layer.id, format: format.id, loss, sqnrDb, elapsedMs });
    const total = subject.layers.length;
    journal.emit({ type: "progress", stage: "quantize", done: reported.length + 1, total });
    const price = prices.get(layer.id);
    reported.push({
      name: layer.id,
      opType: layer.opType,
      weight: layer.weight,
      shape: [layer.n, layer.k],
      block: subject.blocks.find(({ layers }) => layers.includes(layer.id))?.name ?? null,
      format: format.id,
      bits: format.bits,
      bytes,
      loss,
      sqnrDb: jsonDb(sqnrDb),
      nextUpgrade: price?.upgrade
        ? { format: price.upgrade.format.id, lossPerByte: price.lossPerByte }
        : null,
    });
  }
  return reported;
}
