/** H = (2/T) XᵀX. Cost: 2·T·K² per distinct activation in the runtime, K² results per batch; float32 inside a batch,
 * float64 across batches. */
import {
  activationKey,
  activationRows,
  addUp,
  products,
  type Statistic,
  sumTotals,
} from "../statistic.ts";

export const hessian: Statistic<"hessian"> = {
  summary: "H = (2/T) XᵀX of the layer's input",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit(tap) {
        const x = activationRows(tap, model, layer, use);
        return tap.op("MatMul", [tap.op("Transpose", [x]), x]);
      },
      merge: addUp,
    })),
  finish(totals, tokens) {
    const sum = sumTotals(totals);
    const k = Math.sqrt(sum.length);
    // The runtime's product is symmetric only up to rounding.
    for (let i = 0; i < k; i++) {
      for (let j = 0; j <= i; j++) {
        const value = (sum[i * k + j] + sum[j * k + i]) / tokens;
        sum[i * k + j] = value;
        sum[j * k + i] = value;
      }
    }
    return sum;
  },
};
