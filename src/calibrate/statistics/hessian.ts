/**
 * H = (2/T) XᵀX of each row group. Cost: 2·T·G·K² per distinct activation in the runtime, G·K² results per batch;
 * float32 inside a batch, float64 across batches.
 */
import {
  activationKey,
  activationRows,
  addUp,
  groupProducts,
  products,
  type Statistic,
  scaledSymmetric,
  sumTotals,
} from "../statistic.ts";

export const hessian: Statistic<"hessian"> = {
  summary: "H = (2/T) XᵀX of the layer's input",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit(tap) {
        const x = activationRows(tap, model, layer, use);
        return groupProducts(tap, x, x, layer, use);
      },
      merge: addUp,
    })),
  finish: (totals, tokens, { k }) => scaledSymmetric(sumTotals(totals), k, 2 / tokens),
};
