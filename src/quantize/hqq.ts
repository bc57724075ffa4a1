/**
 * Half-quadratic quantization: grids that let a few weights go far off so that most come closer. No data needed.
 * Not here: the grids it starts from (`fit-grids.ts`). Invariant: no block ends with a larger objective than it had on
 * its min-max grid.
 */
import type { Algebra, GridSet } from "../core/algebra.ts";
import { blocksPerRow, effectiveBlockSize, type WeightFormat } from "../core/format.ts";
import type { QuantizeInput, Quantizer } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import type { Matrix } from "../core/tensor.ts";
import { sharedAlgebra } from "../math/algebra.ts";
import { fitGrids } from "./fit-grids.ts";
import { encode, type Grid, roundHalfEven, roundScale } from "./grid.ts";
import { quantizedTensor, roundToGrids } from "./round.ts";

/** Authors' settings: at most this many steps, β of the first, and what each step multiplies it by. */
const steps = 20;
const firstBeta = 10;
const betaGrowth = 1.01;

/**
 * Rounds to the nearest code of grids that minimise, block by block, the objective
 *
 *   f = Σ_i |w_i − ŵ_i|^p,   p = 3/4
 *
 * by steps that each give part of the error away as e (in units of the scale) and fit the grid to what is left:
 *
 *   q = clip(round(w / s) + z, 0, 2^b − 1) ;  r = w / s − (q − z) ;  e = sign(r) · max(0, |r| − |r|^(p−1) / β)
 *   z ← clip(round(mean(q − (w / s − e))), 0, 2^b − 1)   (asymmetric)
 *   s ← Σ (w − s e)(q − z) / Σ (q − z)²
 *
 * They start from the min-max grid, and with the `mse` option from the grid of that search too; a block keeps the grid
 * with the smallest f that it came by, and its steps end when f falls no further.
 *
 * @returns codes uint8 [N, K], scales float32 [N, B], zero points uint8 [N, B] unless symmetric.
 *
 * Cost: O(N·K), at most 21 passes of about 15 ns per weight for each start; usually a handful.
 * Source: Badri & Shaji 2023 (HQQ) and the authors' code: β = 10, 1 % more in each step. Differs: zero points are
 *   integers, as formats store them, and with those alone little can move, so the scale is refitted as well, which
 *   is all that symmetric formats have; r and e are in units of the scale, since a threshold in the units of the
 *   weights makes the result depend on their size; p is 3/4 in place of 0.7, made of square roots, so that every
 *   engine gives the same bits.
 *   Measured on tiny-lm in int3-b64-asym, KL divergence: `min-max` rounding 0.172, from there 0.148; `mse` rounding
 *   0.137, from both 0.141. It pays where weights have outliers, not in general.
 * Numerics: float64; ties to the even integer; scales are rounded to their type before f is taken; a block of zeros
 *   has scale 0 and codes equal to the zero point.
 * @throws numeric - a weight is NaN or infinite.
 */
async function quantize(input: QuantizeInput<never>): Promise<QuantizedTensor> {
  const { format, stats, options } = input;
  const weight = input.target ?? input.weight;
  const algebra = input.algebra ?? (await sharedAlgebra());
  const grids = await halfQuadraticGrids(weight, format, {
    kinds: options.grid === "mse" ? ["min-max", "mse"] : ["min-max"],
    layer: stats.layer,
    algebra,
  });
  return quantizedTensor(weight, format, grids, roundToGrids(weight, format, grids));
}

async function halfQuadraticGrids(
  weight: Matrix,
  format: WeightFormat,
  options: {
    readonly kinds: readonly ("min-max" | "mse")[];
    readonly layer: string;
    readonly algebra: Algebra;
  },
): Promise<GridSet> {
  const starts: GridSet[] = [];
  for (const grid of options.kinds) {
    starts.push(await fitGrids(weight, format, { ...options, grid }));
  }
  const { rows, cols, data } = weight;
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * blocks);
  for (let at = 0; at < scales.length; at++) {
    const first = (at % blocks) * blockSize;
    const start = Math.floor(at / blocks) * cols + first;
    const values = data.subarray(start, start + Math.min(blockSize, cols - first));
    const best = bestGrid(
      values,
      starts.map((grids) => ({ scale: grids.scales[at], zeroPoint: grids.zeroPoints[at] })),
      format,
    );
    scales[at] = best.scale;
    zeroPoints[at] = best.zeroPoint;
  }
  return { scales, zeroPoints };
}

/** The grid with the smallest objective that the steps from any start come by; the earliest of equal ones. */
function bestGrid(values: Float32Array, starts: readonly Grid[], format: WeightFormat): Grid {
  const [{ scale: unit }] = starts;
  let best = starts[0];
  // Nothing to gain on a block of zeros, or one whose scale underflows.
  if (unit === 0) return best;
  let least = Number.POSITIVE_INFINITY;
  for (const start of starts) {
    let grid = start;
    let last = Number.POSITIVE_INFINITY;
    let beta = firstBeta;
    for (let step = 0; step <= steps; step++) {
      const next = stepFrom(values, grid, unit, beta, format);
      if (!(next.objective < last)) break;
      last = next.objective;
      if (last < least) {
        least = last;
        best = grid;
      }
      if (next.grid.scale === 0 || !Number.isFinite(next.grid.scale)) break;
      grid = next.grid;
      beta *= betaGrowth;
    }
  }
  return best;
}

/** The objective of a grid, in units of `unit` so that it is exact under powers of two, and the grid one step on. */
function stepFrom(
  values: Float32Array,
  { scale, zeroPoint }: Grid,
  unit: number,
  beta: number,
  { bits, symmetric, scaleType }: WeightFormat,
): { readonly objective: number; readonly grid: Grid } {
  const highest = 2 ** bits - 1;
  const relative = Math.abs(scale / unit);
  let objective = 0;
  let zeroSum = 0;
  // Σ (w/s − e) q, Σ (w/s − e), Σ q², Σ q: the refit for any zero point.
  let productSum = 0;
  let targetSum = 0;
  let squareSum = 0;
  let codeSum = 0;
  for (const w of values) {
    const code = encode(w, scale, zeroPoint, highest);
    const position = w / scale;
    const residual = position - (code - zeroPoint);
    const size = Math.abs(residual);
    objective += power34(size * relative);
    const left = size === 0 ? 0 : Math.max(0, size - 1 / (beta * Math.sqrt(Math.sqrt(size))));
    const target = position - (residual < 0 ? -left : left);
    zeroSum += code - target;
    productSum += target * code;
    targetSum += target;
    squareSum += code * code;
    codeSum += code;
  }
  const count = values.length;
  const next = symmetric
    ? zeroPoint
    : Math.max(0, Math.min(highest, roundHalfEven(zeroSum / count)));
  const norm = squareSum - 2 * next * codeSum + count * next * next;
  const refitted = norm === 0 ? scale : (scale * (productSum - next * targetSum)) / norm;
  return { objective, grid: { scale: roundScale(refitted, scaleType), zeroPoint: next } };
}

/** x^(3/4) for x ≥ 0. */
function power34(x: number): number {
  const root = Math.sqrt(x);
  return root * Math.sqrt(root);
}

export const hqq: Quantizer<never> = {
  summary: "fit grids to all but the outliers of a block, by half-quadratic steps; needs no data",
  source: "Badri & Shaji 2023, Half-Quadratic Quantization (HQQ), and the authors' settings",
  needs: [],
  secondsPerWeight: 330e-9,
  quantize,
};
