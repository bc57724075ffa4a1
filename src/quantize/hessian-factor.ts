/**
 * The damped factor of a layer's Hessian, with the notices that its making deserves.
 * Not here: the factorization (`math/factor.ts`). Invariant: every caller gets the notices, remembered or not.
 */
import type { Algebra, HessianFactor } from "../core/algebra.ts";
import type { QuantizeOptions } from "../core/method.ts";

/**
 * R of the damped Hessian in the column order that the options ask for; the caller releases it.
 *
 * @param hessian - float64 [K, K], symmetric; must not change while it is in use.
 *
 * Cost: K³/3 operations the first time, nothing when asked again with the same damping and order.
 * @throws numeric - see `Algebra.factor`.
 */
export async function factorHessian(
  algebra: Algebra,
  hessian: Float64Array,
  options: QuantizeOptions,
  layer: string,
): Promise<HessianFactor> {
  const { damping, activationOrder } = options;
  const factor = await algebra.factor(hessian, { damping, activationOrder, layer });
  emitNotices(factor, layer, options);
  return factor;
}

function emitNotices(factor: HessianFactor, layer: string, options: QuantizeOptions): void {
  for (const damping of factor.raised) {
    options.onEvent?.({
      type: "notice",
      notice: {
        code: "damping-raised",
        message: `Hessian of "${layer}" not positive definite: damping raised to ${damping}.`,
        layer,
      },
    });
  }
  if (factor.deadColumns > 0) {
    options.onEvent?.({
      type: "notice",
      notice: {
        code: "dead-columns",
        message: `${factor.deadColumns} of ${factor.size} inputs of "${layer}" were zero in all calibration rows: their weights are rounded to nearest.`,
        layer,
      },
    });
  }
}
