/**
 * The output error that corrections lower, from Gram matrices: no activations needed.
 * Not here: what is done about it (one file per method). Invariant: weight and Gram matrices are not modified.
 */
import type { Algebra } from "../core/algebra.ts";
import type { LayerObjective, StreamGrams } from "../core/correction.ts";
import type { Matrix } from "../core/tensor.ts";

/**
 * J over one set of rows, around an uncorrected weight.
 *
 *   J(Ŵ) − J(W) = −2 tr(G Δᵀ) + tr(Δ H Δᵀ),   Δ = Ŵ − W,   G = W C + (2/T) (R − R̂)ᵀX̂
 *
 * @param weight - W, float32 [N, K].
 *
 * Cost: 2·N·K² operations for the first `change` or `descent`, N·K² for each `change`, and with `driftGram` for
 *   making it; N·K float64 kept, N·K float32 while it works.
 * Source: expansion of ‖X Wᵀ − X̂ Ŵᵀ‖² around W. Differs from tr(W XᵀX Wᵀ) − 2 tr(W XᵀX̂ Ŵᵀ) + tr(Ŵ X̂ᵀX̂ Ŵᵀ): the
 *   same value without its cancellation (J is often a thousandth of the first term), and candidates compare without
 *   XᵀX.
 * Numerics: float64 sums; Δ is rounded to float32, which is a relative error of 6e-8 of Δ itself.
 */
export async function layerObjective(
  weight: Matrix,
  grams: StreamGrams,
  algebra: Algebra,
): Promise<LayerObjective> {
  const { rows, cols } = weight;
  const { hessian, drift, driftGram, residualDrift } = grams;
  let made: Float64Array | undefined;
  const makeDescent = async () => {
    if (made) return made;
    made = await algebra.product(weight.data, drift, rows, cols, cols);
    if (residualDrift) for (let i = 0; i < made.length; i++) made[i] += residualDrift[i];
    for (let k = 0; k < cols; k++) {
      // x̂_k was 0 in every row, so the column is 0 up to how the statistics were summed.
      if (hessian[k * cols + k] === 0) for (let n = 0; n < rows; n++) made[n * cols + k] = 0;
    }
    return made;
  };
  return {
    grams,
    uncorrected: driftGram && !residualDrift ? await algebra.quadraticForm(weight, driftGram) : 0,
    descent: makeDescent,
    async change(candidate) {
      const descent = await makeDescent();
      const delta = new Float32Array(weight.data.length);
      let linear = 0;
      for (let i = 0; i < delta.length; i++) {
        delta[i] = candidate.data[i] - weight.data[i];
        linear += descent[i] * delta[i];
      }
      return (await algebra.quadraticForm({ rows, cols, data: delta }, hessian)) - 2 * linear;
    },
  };
}
