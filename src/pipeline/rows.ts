/**
 * Calibration rows that are known before anything has run: in a language model one per token.
 * Not here: rows of other models and of experts, which calibration counts.
 */
import type { Dataset } from "../core/dataset.ts";
import type { Notice } from "../core/events.ts";
import type { Layer } from "../core/layer.ts";

/** Fewer rows than this per input feature determine a Hessian poorly. */
export const rowsPerInput = 2;

/** Uses that multiply make rows, gathering makes none. */
const multiplyingUses = ({ uses }: Pick<Layer, "uses">): number =>
  uses.filter(({ opType }) => opType !== "Gather").length;

/** Rows that one sample makes of a layer's input, at most; undefined for data that is no token windows. */
export function tokensPerSample(
  layer: Pick<Layer, "uses">,
  { protocol }: Pick<Dataset, "protocol">,
): number | undefined {
  return protocol && protocol.window * multiplyingUses(layer);
}

/** Layers of a language model that will see too few rows for a Hessian, whatever happens. */
export function thinLayers(
  layers: readonly Layer[],
  dataset: Pick<Dataset, "protocol" | "samples">,
): readonly Layer[] {
  return layers.filter((layer) => {
    if (multiplyingUses(layer) === 0) return false;
    const tokens = tokensPerSample(layer, dataset);
    return tokens !== undefined && tokens * dataset.samples < rowsPerInput * layer.k;
  });
}

/**
 * Of layers with too few rows.
 *
 * @param tense - whether they have been counted already.
 */
export function fewRows(layers: readonly Layer[], tense: "will see" | "saw"): Notice {
  const widest = Math.max(...layers.map(({ k }) => k));
  return {
    code: "few-rows",
    message: `${layers.length} ${layers.length === 1 ? "layer" : "layers"} ${tense} fewer than ${rowsPerInput} rows per input feature (K up to ${widest}): ${layers.length === 1 ? "its Hessian is" : "their Hessians are"} poorly determined. Give more data with --calibration or --rows.`,
  };
}
