/**
 * The twin of the grid search in `native/dense/grid.ts`, in plain JavaScript with the same order of operations.
 * Invariant: the result is never worse than the min-max grid of the same block, because that is a candidate.
 */
import { type Grid, type GridRule, minMaxGrid, roundScale } from "../../src/quantize/grid.ts";
import { trialScales } from "../../src/quantize/trial-scales.ts";

/** Adding and subtracting 1.5 · 2⁵² rounds to the nearest integer; see `roundHalfEven`. */
const rounder = 6755399441055744;
/** Passes of alternating least squares after the best starting scale is known. */
const refinements = 3;

/** Sums over a block for one trial scale: Σ h·w·c and Σ h·c², with c = clip(round(w / s)). */
interface Correlation {
  withWeights: number;
  withCodes: number;
}

/** Finds the grid of one block; see `fitGrids` for the formulas. */
export function searchGrid(
  values: Float64Array,
  count: number,
  rule: GridRule,
  importance: Float64Array | undefined,
  grid: Grid,
): void {
  minMaxGrid(values, 0, count, rule, grid);
  let low = 0;
  let high = 0;
  for (let i = 0; i < count; i++) {
    const w = values[i];
    if (w < low) low = w;
    else if (w > high) high = w;
  }
  if (low === 0 && high === 0) return;

  const highest = 2 ** rule.bits - 1;
  const firstZero = rule.symmetric ? grid.zeroPoint : Math.max(0, grid.zeroPoint - 1);
  const lastZero = rule.symmetric ? grid.zeroPoint : Math.min(highest, grid.zeroPoint + 1);
  const { trials, ratio } = trialScales[rule.bits];
  const sums: Correlation = { withWeights: 0, withCodes: 0 };

  let best = -1;
  let bestScale = grid.scale;
  let bestZero = grid.zeroPoint;
  for (let zero = firstZero; zero <= lastZero; zero++) {
    for (let sign = 1; sign >= (rule.symmetric ? -1 : 1); sign -= 2) {
      const top = sign > 0 ? high : -low;
      const bottom = sign > 0 ? low : -high;
      const covering = Math.max(
        zero < highest ? top / (highest - zero) : 0,
        zero > 0 ? -bottom / zero : 0,
      );
      if (covering === 0) continue;
      let scale = sign * covering;
      for (let trial = 0; trial < trials; trial++, scale *= ratio) {
        correlate(values, count, scale, -zero, highest - zero, importance, sums);
        const score =
          sums.withCodes > 0 ? (sums.withWeights * sums.withWeights) / sums.withCodes : -1;
        if (score > best) {
          best = score;
          bestScale = sums.withWeights / sums.withCodes;
          bestZero = zero;
        }
      }
    }
  }
  if (bestScale === 0) return;

  for (let step = 0; step < refinements; step++) {
    correlate(values, count, bestScale, -bestZero, highest - bestZero, importance, sums);
    if (!(sums.withCodes > 0) || sums.withWeights === 0) break;
    const next = sums.withWeights / sums.withCodes;
    if (next === bestScale) break;
    bestScale = next;
  }
  const rounded = roundScale(bestScale, rule.scaleType);
  const plain = squaredError(values, count, grid.scale, grid.zeroPoint, highest, importance);
  const searched = squaredError(values, count, rounded, bestZero, highest, importance);
  if (searched < plain) {
    grid.scale = rounded;
    grid.zeroPoint = bestZero;
  }
}

/** Two elements per round with separate sums: the float adder's latency is the limit of this loop. */
function correlate(
  values: Float64Array,
  count: number,
  scale: number,
  low: number,
  high: number,
  importance: Float64Array | undefined,
  sums: Correlation,
): void {
  const inverse = 1 / scale;
  let weights0 = 0;
  let weights1 = 0;
  let codes0 = 0;
  let codes1 = 0;
  const pairs = count & ~1;
  if (importance === undefined) {
    for (let i = 0; i < pairs; i += 2) {
      const w0 = values[i];
      const w1 = values[i + 1];
      let c0 = w0 * inverse + rounder - rounder;
      let c1 = w1 * inverse + rounder - rounder;
      if (c0 < low) c0 = low;
      else if (c0 > high) c0 = high;
      if (c1 < low) c1 = low;
      else if (c1 > high) c1 = high;
      weights0 += w0 * c0;
      weights1 += w1 * c1;
      codes0 += c0 * c0;
      codes1 += c1 * c1;
    }
  } else {
    for (let i = 0; i < pairs; i += 2) {
      const w0 = values[i];
      const w1 = values[i + 1];
      let c0 = w0 * inverse + rounder - rounder;
      let c1 = w1 * inverse + rounder - rounder;
      if (c0 < low) c0 = low;
      else if (c0 > high) c0 = high;
      if (c1 < low) c1 = low;
      else if (c1 > high) c1 = high;
      const h0 = importance[i] * c0;
      const h1 = importance[i + 1] * c1;
      weights0 += w0 * h0;
      weights1 += w1 * h1;
      codes0 += c0 * h0;
      codes1 += c1 * h1;
    }
  }
  if (pairs < count) {
    const w = values[pairs];
    const c = Math.max(low, Math.min(high, w * inverse + rounder - rounder));
    const h = importance === undefined ? c : importance[pairs] * c;
    weights0 += w * h;
    codes0 += c * h;
  }
  sums.withWeights = weights0 + weights1;
  sums.withCodes = codes0 + codes1;
}

/** Σ h · (w − s·c)² with the codes that the grid gives. */
function squaredError(
  values: Float64Array,
  count: number,
  scale: number,
  zero: number,
  highest: number,
  importance: Float64Array | undefined,
): number {
  const inverse = scale === 0 ? 0 : 1 / scale;
  let error = 0;
  for (let i = 0; i < count; i++) {
    const w = values[i];
    let c = w * inverse + rounder - rounder;
    if (c < -zero) c = -zero;
    else if (c > highest - zero) c = highest - zero;
    const difference = w - scale * c;
    error += (importance === undefined ? 1 : importance[i]) * difference * difference;
  }
  return error;
}
