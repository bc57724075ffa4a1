/** E[x_k²] over rows. Cost: one reduction per distinct activation. */
import {
  activationKey,
  activationRows,
  addUp,
  products,
  type Statistic,
  sumTotals,
} from "../statistic.ts";

export const meanSquare: Statistic<"meanSquare"> = {
  summary: "mean square of each input feature",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit: (tap) => tap.reduce("ReduceSumSquare", activationRows(tap, model, layer, use), [0]),
      merge: addUp,
    })),
  finish: (totals, tokens) => sumTotals(totals).map((sum) => sum / tokens),
};
