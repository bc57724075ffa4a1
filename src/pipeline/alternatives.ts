/**
 * The scoring stage: every layer's alternatives with exact bytes and predicted loss.
 */
import type { Dataset } from "../core/dataset.ts";
import { float32Format, type WeightFormat } from "../core/format.ts";
import type { LayerAlternatives } from "../core/plan.ts";
import { findLogits } from "../onnx/index.ts";
import { weightBytes } from "../rewrite/index.ts";
import { createLossProbe, scoreLayers } from "../score/index.ts";
import type { Run } from "./run.ts";
import { formatsOfLayers } from "./subject.ts";

/**
 * float16 keeps 11 significant bits. Its damage is taken as this share of the best integer format's: not free, so
 * that float32 keeps its order, and never dearer than integers.
 */
const float16LossShare = 2 ** -6;

/** Reference log-probabilities of all search windows are held at once; beyond this, windows are left out. */
export const referenceLimitBytes = 2 ** 30;

/** The search split, or as much of it as its reference values allow. */
function affordableSearch({ subject, data: { search }, journal }: Run): Dataset {
  const vocabulary = findLogits(subject.model.graph)?.shape?.[2];
  if (!search.protocol || typeof vocabulary !== "number") return search;
  const perWindow = search.protocol.window * vocabulary * 4;
  const windows = Math.max(1, Math.floor(referenceLimitBytes / perWindow));
  if (windows >= search.samples) return search;
  journal.notify({
    code: "fewer-search-windows",
    message: `Scores are measured on ${windows} of ${search.samples} search windows: the float model's log-probabilities take ${(perWindow / 1e6).toFixed(0)} MB each.`,
  });
  return search.select(Array.from({ length: windows }, (_, i) => i));
}

/** Scores all layers in all formats that the target can express. */
export async function scoreAlternatives(run: Run): Promise<LayerAlternatives[]> {
  const { subject, journal, methods, stats, weights, runtime, searchLoss, scorer, seed } = run;
  const { model, blocks, target, opset } = subject;
  const { signal } = run.options;
  const formats = await formatsOfLayers(subject, methods, journal.notify);
  const input = {
    candidates: formats
      .filter((entry) => entry.formats.length > 0)
      .map((entry) => ({ layer: entry.layer, formats: entry.formats })),
    stats,
    blocks,
    rounded: weights.rounded,
    quantized: weights.quantized,
    probe: () =>
      createLossProbe({
        model,
        blocks,
        dataset: affordableSearch(run),
        loss: searchLoss,
        runtime,
        signal,
        onEvent: journal.emit,
      }),
    seed,
    signal,
    onEvent: journal.emit,
  };
  const scores = await scoreLayers(input, scorer);
  return formats.map(({ layer, formats: integers, floats }) => {
    const score = scores.get(layer.id);
    const entry = (format: WeightFormat, loss: number) => ({
      layer: layer.id,
      format,
      bytes: weightBytes(target, layer, format, opset),
      loss,
    });
    const losses = score?.losses ?? [];
    const best = losses.length > 0 ? Math.min(...losses) : 0;
    return {
      layer: layer.id,
      weights: layer.n * layer.k,
      alternatives: [
        ...integers.map((format, i) => entry(format, losses[i])),
        ...floats.map((format) =>
          entry(format, format.id === float32Format.id ? 0 : best * float16LossShare),
        ),
      ],
      block: blocks.find(({ layers }) => layers.includes(layer.id))?.name,
      importance: score?.importance,
    };
  });
}
