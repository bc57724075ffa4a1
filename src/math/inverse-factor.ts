/**
 * The triangular factor of a damped inverse Hessian, and the one damping rule of the library.
 * Not here: emitting notices; callers turn `raised` into events with their layer's name.
 * Invariant: the Hessian passed in is never modified.
 */
import { BitloomError, invariant } from "../core/errors.ts";
import { choleskyInPlace, invertLowerInPlace } from "./cholesky.ts";

/** How often λ is raised tenfold before giving up. */
const maxRaises = 5;
/** First non-zero damping when the caller asked for none and the undamped matrix cannot be factored. */
const smallestRaisedDamping = 1e-6;

export interface InverseFactor {
  /** U, float64 [K, K] row-major, zero below the diagonal, positive on it. */
  readonly factor: Float64Array;
  /** Relative damping that worked: λ = damping · mean(diag H). */
  readonly damping: number;
  /** Relative dampings tried after the requested one failed, ascending; empty when the first attempt worked. */
  readonly raised: readonly number[];
  /** Number of columns with H_kk = 0. */
  readonly deadColumns: number;
}

export interface InverseFactorOptions {
  /** λ = damping · mean(diag H). */
  readonly damping: number;
  /** Row and column `i` of the factor belong to Hessian index `order[i]`; a permutation of 0 .. K − 1. */
  readonly order?: Int32Array | undefined;
  /** Only for the error message. */
  readonly layer: string;
}

/**
 * Upper factor of the inverse of a damped Hessian.
 *
 *   Uᵀ U = (H + λI)⁻¹,   λ = damping · mean(diag H)
 *
 * With J the reversal of indices: J (H + λI) J = L Lᵀ, hence H + λI = R Rᵀ with R = J L J upper triangular, hence
 * U = R⁻¹ = J L⁻¹ J. One factorization and one triangular inverse; the inverse itself is never formed, so no
 * second factorization of a matrix that rounding may have made indefinite.
 *
 * @param hessian - float64 [K, K], symmetric, undamped; not modified.
 * @param size - K.
 *
 * Cost: K³/3 multiply-adds, K² extra float64 beside the result's K².
 * Source: Frantar et al. 2023 (GPTQ), section 3.3 step 3. Differs: they form the inverse and factor it again.
 * Numerics: float64. H_kk = 0 (dead input) counts as 1, so that row k of U is zero beside its diagonal. When a
 *   pivot fails λ is raised tenfold (from at least 1e-6), at most five times. A Hessian of zeros gives U = I.
 * @throws numeric - the Hessian holds NaN or infinity, or the fifth raise failed too.
 */
export function inverseUpperFactor(
  hessian: Float64Array,
  size: number,
  options: InverseFactorOptions,
): InverseFactor {
  const { order, layer } = options;
  invariant(hessian.length === size * size, "Hessian and weight disagree in K");
  let trace = 0;
  let deadColumns = 0;
  for (let k = 0; k < size; k++) {
    const diagonal = hessian[k * size + k];
    trace += diagonal;
    if (diagonal === 0) deadColumns++;
  }
  const mean = trace / size;
  const work = new Float64Array(size * size);
  const raised: number[] = [];
  let damping = options.damping;
  for (;;) {
    loadReversed(work, hessian, size, order, damping * mean);
    if (choleskyInPlace(work, size)) break;
    if (raised.length === maxRaises || !Number.isFinite(trace)) {
      throw new BitloomError(
        "numeric",
        `Cannot factor the Hessian of "${layer}" (${size} × ${size}): expected positive definite and finite, got a bad pivot with damping ${damping}. Check the calibration data for NaN or infinity, or raise the damping.`,
        { layer, step: "hessian-factor" },
      );
    }
    damping = Math.max(damping * 10, smallestRaisedDamping);
    raised.push(damping);
  }
  invertLowerInPlace(work, size);
  // Reversing rows and columns reverses the flat array.
  work.reverse();
  return { factor: work, damping, raised, deadColumns };
}

/** work ← lower triangle of J (P H Pᵀ + λI) J, dead diagonals set to 1. */
function loadReversed(
  work: Float64Array,
  hessian: Float64Array,
  size: number,
  order: Int32Array | undefined,
  lambda: number,
): void {
  const last = size - 1;
  for (let i = 0; i < size; i++) {
    const source = order ? order[last - i] : last - i;
    const row = i * size;
    for (let j = 0; j < i; j++) {
      work[row + j] = hessian[source * size + (order ? order[last - j] : last - j)];
    }
    const diagonal = hessian[source * size + source];
    work[row + i] = (diagonal === 0 ? 1 : diagonal) + lambda;
  }
}
