/**
 * Building blocks of scorers: the error matrix of a candidate, its squared norm, its output error.
 */
import type { Algebra } from "../core/algebra.ts";
import { throwIfAborted } from "../core/errors.ts";
import { yieldToEventLoop } from "../core/events.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { LayerLosses, ScoreCandidate, ScoreInput } from "../core/score.ts";
import { countGroups, type LayerStats, type StatName } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import { sharedAlgebra } from "../math/algebra.ts";

/** Σ (a − b)², float64. */
export function squaredDistance(a: Matrix, b: Matrix): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += (a.data[i] - b.data[i]) ** 2;
  return sum;
}

/** Σ a², float64. */
export function squaredNorm({ data }: Matrix): number {
  let sum = 0;
  for (const value of data) sum += value * value;
  return sum;
}

/** b − a, rounded to float32. */
function difference(a: Matrix, b: Matrix): Matrix {
  const data = new Float32Array(a.data.length);
  for (let i = 0; i < data.length; i++) data[i] = b.data[i] - a.data[i];
  return { ...a, data };
}

/**
 * Mean squared error of the layer's output rows: `½ Σ_g tr(ΔW_g H_g ΔW_gᵀ)` over matrix uses (H_g = (2/T) X_gᵀX_g of
 * row group g) plus `Σ_n p_n ‖ΔW_n‖²` over gathered rows, p the frequency of row n. Without either (no calibration row reached the layer)
 * the error of the weights themselves, `‖ΔW‖² / N`: as if every row were gathered equally often.
 *
 * Cost: N·K² operations.
 */
export async function outputError(
  weight: Matrix,
  quantized: Matrix,
  stats: Pick<LayerStats, "hessian" | "rowFrequency">,
  algebra?: Algebra,
): Promise<number> {
  let error = 0;
  if (stats.hessian) {
    const { hessian } = stats;
    const { quadraticForm } = algebra ?? (await sharedAlgebra());
    const { rows, cols, data } = difference(weight, quantized);
    const groups = countGroups({ hessian }, cols);
    const count = rows / groups;
    for (let group = 0; group < groups; group++) {
      const part = data.subarray(group * count * cols, (group + 1) * count * cols);
      const own = hessian.subarray(group * cols * cols, (group + 1) * cols * cols);
      error += (await quadraticForm({ rows: count, cols, data: part }, own)) / 2;
    }
  }
  if (!stats.hessian && !stats.rowFrequency)
    return squaredDistance(weight, quantized) / weight.rows;
  if (stats.rowFrequency) {
    const { rows, cols } = weight;
    for (let n = 0; n < rows; n++) {
      if (stats.rowFrequency[n] === 0) continue;
      let sum = 0;
      for (let i = n * cols; i < (n + 1) * cols; i++)
        sum += (weight.data[i] - quantized.data[i]) ** 2;
      error += stats.rowFrequency[n] * sum;
    }
  }
  return Math.max(0, error);
}

/**
 * Scores layer by layer: reads the weight once, asks for a loss per format.
 *
 * @param how - which error: of round-to-nearest, or of the run's quantizer.
 * @param measure - receives the layer's own statistics.
 */
export async function scoreEach<S extends StatName>(
  input: ScoreInput<S>,
  how: "rounded" | "quantized",
  measure: (args: {
    readonly layer: Layer;
    readonly format: WeightFormat;
    readonly weight: Matrix;
    readonly quantized: Matrix;
    readonly stats: LayerStats<S>;
  }) => number | Promise<number>,
  importance?: (layer: Layer, weight: Matrix) => number | undefined,
): Promise<Map<LayerId, LayerLosses>> {
  const scores = new Map<LayerId, LayerLosses>();
  for (const [i, { layer, formats }] of input.candidates.entries()) {
    const weight = await layer.readWeight();
    const stats = statsOf(input, layer);
    const losses: number[] = [];
    for (const format of formats) {
      throwIfAborted(input.signal, "scoring");
      await yieldToEventLoop();
      const quantized = await input[how](layer, format);
      losses.push(await measure({ layer, format, weight, quantized, stats }));
    }
    scores.set(layer.id, { losses, importance: importance?.(layer, weight) });
    input.onEvent?.({
      type: "progress",
      stage: "score",
      done: i + 1,
      total: input.candidates.length,
      label: layer.id,
    });
  }
  return scores;
}

/** The layer's statistics; calibration made one entry for every layer. */
export function statsOf<S extends StatName>(input: ScoreInput<S>, layer: Layer): LayerStats<S> {
  const stats = input.stats.get(layer.id);
  if (!stats) throw new Error(`bug in bitloom: no statistics of layer "${layer.id}"`);
  return stats;
}

/**
 * Makes losses fall with the width: within one block size and symmetry, a wider format is never worse than a narrower
 * one (measured losses near 0 are noise). Candidates come lowest width first.
 */
export function monotone(candidate: ScoreCandidate, losses: readonly number[]): number[] {
  const best = new Map<string, number>();
  return candidate.formats.map((format, i) => {
    const family = `${format.blockSize} ${format.symmetric}`;
    const loss = Math.min(losses[i], best.get(family) ?? Number.POSITIVE_INFINITY);
    best.set(family, loss);
    return loss;
  });
}
