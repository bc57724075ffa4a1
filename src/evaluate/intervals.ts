/**
 * 95 % confidence intervals over windows: windows are the independent units, tokens inside one are not.
 */
import type { Estimate } from "../core/estimate.ts";
import { createRandom } from "../core/random.ts";

/** 97.5 % point of the standard normal distribution. */
const z = 1.959964;

/**
 * Mean over windows with a normal-approximation interval: `mean ± 1.96 · sd / √n`. One window gives no interval (the
 * bounds are NaN-free: equal to the value).
 *
 * @param sums - Σ per window. @param counts - tokens per window.
 */
export function meanOverWindows(sums: readonly number[], counts: readonly number[]): Estimate {
  const total = counts.reduce((a, b) => a + b, 0);
  const value = sums.reduce((a, b) => a + b, 0) / total;
  const n = sums.length;
  if (n < 2) return { value, low: value, high: value };
  // Ratio estimator: windows may hold different numbers of scored tokens.
  const meanCount = total / n;
  const variance =
    sums.reduce((sum, s, i) => sum + (s - value * counts[i]) ** 2, 0) / (n - 1) / meanCount ** 2;
  const half = z * Math.sqrt(variance / n);
  return { value, low: value - half, high: value + half };
}

/** The estimate through a monotone increasing function. */
export function mapEstimate({ value, low, high }: Estimate, f: (x: number) => number): Estimate {
  return { value: f(value), low: f(low), high: f(high) };
}

/** Bootstrap resamples of the percentile interval. */
const resamples = 200;

/**
 * Percentile over all tokens, with a bootstrap interval over windows (200 resamples, fixed seed).
 *
 * @param windows - values per window. @param share - 0.999 for the 99.9th percentile.
 */
export function percentileOverWindows(windows: readonly Float32Array[], share: number): Estimate {
  const value = percentile(windows, share);
  if (windows.length < 2) return { value, low: value, high: value };
  const random = createRandom(1);
  const draws = Array.from({ length: resamples }, () =>
    percentile(
      windows.map(() => windows[random.integer(windows.length)]),
      share,
    ),
  ).sort((a, b) => a - b);
  return {
    value,
    low: draws[Math.floor(0.025 * (resamples - 1))],
    high: draws[Math.ceil(0.975 * (resamples - 1))],
  };
}

function percentile(windows: readonly Float32Array[], share: number): number {
  const length = windows.reduce((sum, window) => sum + window.length, 0);
  const all = new Float32Array(length);
  let offset = 0;
  for (const window of windows) {
    all.set(window, offset);
    offset += window.length;
  }
  all.sort();
  return all[Math.min(length - 1, Math.ceil(share * length) - 1)];
}
