/**
 * How uneven weights and inputs of a layer are, for the report, from statistics of activations that the run measures
 * anyway. A scale is shared by a block of numbers, so what stands out of the rest costs the rest its digits.
 */
import type { LayerStats, StatName } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import type { OutlierReport } from "../report/index.ts";
import { outlierShare } from "../score/zd.ts";

/** Collected beside what methods need: one reduction more per activation that is measured anyway. */
export const outlierStatistics: readonly StatName[] = ["absMax"];

/**
 * Mean over rows of x_k², float64 [G, K]; from the diagonal of H = (2 / T) XᵀX where it was not collected itself.
 *
 * @param k - columns of the layer.
 */
export function meanSquares(stats: Partial<LayerStats>, k: number): Float64Array | undefined {
  if (stats.meanSquare) return stats.meanSquare;
  const { hessian } = stats;
  if (!hessian) return undefined;
  return Float64Array.from({ length: hessian.length / k }, (_, at) => {
    const start = Math.floor(at / k) * k * k;
    return hessian[start + (at % k) * (k + 1)] / 2;
  });
}

/**
 * Cost: three passes over the weight, one over the diagonal.
 */
export function describeOutliers(weight: Matrix, stats: LayerStats | undefined): OutlierReport {
  let largest = 0;
  let squares = 0;
  for (const value of weight.data) {
    largest = Math.max(largest, Math.abs(value));
    squares += value * value;
  }
  const channels = stats && meanSquares(stats, weight.cols);
  const mean = channels && channels.reduce((sum, value) => sum + value, 0) / channels.length;
  const peakOver = (value: number) =>
    mean === undefined || mean === 0 ? null : Math.sqrt(value / mean);
  return {
    weightPeak: squares === 0 ? null : largest / Math.sqrt(squares / weight.data.length),
    weightShare: outlierShare(weight),
    channelPeak: channels ? peakOver(maximum(channels)) : null,
    inputPeak: stats?.absMax ? peakOver(maximum(stats.absMax) ** 2) : null,
  };
}

function maximum(values: Float32Array | Float64Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  return most;
}
