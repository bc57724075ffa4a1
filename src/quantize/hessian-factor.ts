/**
 * The damped factor of a layer's Hessian, remembered per Hessian, with the notices its making deserves.
 * Not here: the factorization (`math/inverse-factor.ts`). Invariant: every caller gets the notices, memo or not.
 */
import type { QuantizeOptions } from "../core/method.ts";
import { type InverseFactor, inverseUpperFactor } from "../math/inverse-factor.ts";

export interface HessianFactor extends InverseFactor {
  /** Column of the weight that row k of the factor belongs to; undefined = column order. */
  readonly order: Int32Array | undefined;
}

interface RememberedFactor {
  readonly damping: number;
  readonly activationOrder: boolean;
  readonly result: HessianFactor;
}

/**
 * The last factor of each Hessian. A pure memo: layers sharing an activation share its Hessian array, and scoring asks
 * once per format. It relies on statistics being immutable; only the latest damping and order are kept, to hold no
 * more than one K × K factor per live Hessian.
 */
const factors = new WeakMap<Float64Array, RememberedFactor>();

/**
 * U with Uᵀ U = (H + λI)⁻¹ in the column order that the options ask for.
 *
 * @param hessian - float64 [K, K], symmetric; must not change while it is in use.
 * @param size - K.
 *
 * Cost: K³/3 multiply-adds the first time, nothing when asked again with the same damping and order.
 * @throws numeric - see `inverseUpperFactor`.
 */
export function factorHessian(
  hessian: Float64Array,
  size: number,
  options: QuantizeOptions,
  layer: string,
): HessianFactor {
  const { damping, activationOrder } = options;
  const known = factors.get(hessian);
  let result: HessianFactor;
  if (known?.damping === damping && known.activationOrder === activationOrder) {
    result = known.result;
  } else {
    const order = activationOrder ? descendingDiagonal(hessian, size) : undefined;
    result = { ...inverseUpperFactor(hessian, size, { damping, order, layer }), order };
    factors.set(hessian, { damping, activationOrder, result });
  }
  emitNotices(result, layer, size, options);
  return result;
}

/** Column indices by descending H_kk; equal ones keep their order. */
function descendingDiagonal(hessian: Float64Array, size: number): Int32Array {
  const order = Int32Array.from({ length: size }, (_, k) => k);
  return order.sort((a, b) => hessian[b * size + b] - hessian[a * size + a] || a - b);
}

function emitNotices(
  inverse: InverseFactor,
  layer: string,
  size: number,
  options: QuantizeOptions,
): void {
  for (const damping of inverse.raised) {
    options.onEvent?.({
      type: "notice",
      notice: {
        code: "damping-raised",
        message: `Hessian of "${layer}" not positive definite: damping raised to ${damping}.`,
        layer,
      },
    });
  }
  if (inverse.deadColumns > 0) {
    options.onEvent?.({
      type: "notice",
      notice: {
        code: "dead-columns",
        message: `${inverse.deadColumns} of ${size} inputs of "${layer}" were zero in all calibration rows: their weights are rounded to nearest.`,
        layer,
      },
    });
  }
}
