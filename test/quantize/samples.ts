/** Weights, Hessians and formats for the tests of `quantize/`. */
import { formatGrid, integerBits, type WeightFormat } from "../../src/core/format.ts";
import type { QuantizeOptions } from "../../src/core/method.ts";
import { defaultQuantizeOptions, type QuantizeInput } from "../../src/core/method.ts";
import { createRandom } from "../../src/core/random.ts";
import type { LayerStats } from "../../src/core/stats.ts";
import type { Matrix } from "../../src/core/tensor.ts";

/** Every width, block size (row included), symmetry and scale type. */
export const everyFormat: readonly WeightFormat[] = (["float16", "float32"] as const).flatMap(
  (scaleType) => formatGrid(integerBits, [0, 16, 32, 64, 128, 256], scaleType),
);

export function normalMatrix(rows: number, cols: number, seed: number): Matrix {
  const random = createRandom(seed);
  const data = Float32Array.from({ length: rows * cols }, () => random.normal());
  return { rows, cols, data };
}

/** H = (2/T) XᵀX of correlated inputs of uneven size: a few shared directions, noise, one loud column in eight. */
export function correlatedHessian(k: number, seed: number, tokens = 2 * k + 8): Float64Array {
  const random = createRandom(seed);
  const directions = Float64Array.from({ length: 4 * k }, () => random.normal());
  const hessian = new Float64Array(k * k);
  const x = new Float64Array(k);
  for (let t = 0; t < tokens; t++) {
    const common = [random.normal(), random.normal(), random.normal(), random.normal()];
    for (let i = 0; i < k; i++) {
      x[i] = random.normal();
      for (let d = 0; d < 4; d++) x[i] += common[d] * directions[d * k + i];
      if (i % 8 === 3) x[i] *= 5;
    }
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) hessian[i * k + j] += (2 / tokens) * x[i] * x[j];
    }
  }
  return hessian;
}

export function identityHessian(k: number): Float64Array {
  const hessian = new Float64Array(k * k);
  for (let i = 0; i < k; i++) hessian[i * k + i] = 1;
  return hessian;
}

/** A complete input with the default options. */
export function quantizeInput(
  weight: Matrix,
  format: WeightFormat,
  hessian: Float64Array | undefined,
  options: Partial<QuantizeOptions> = {},
): QuantizeInput {
  // Absent statistics read as undefined, which is how a statistic that does not apply looks.
  const stats = { layer: "/model/q/MatMul", tokens: 2 * weight.cols, hessian } as LayerStats;
  return { weight, format, stats, options: { ...defaultQuantizeOptions, ...options } };
}
