/** E[x_k²] over rows. Cost: one reduction per distinct activation. */
import {
  activationKey,
  activationRows,
  addUp,
  perColumn,
  products,
  type Statistic,
  sumTotals,
} from "../statistic.ts";

export const meanSquare: Statistic<"meanSquare"> = {
  summary: "mean square of each input feature",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit(tap) {
        const x = activationRows(tap, model, layer, use);
        return perColumn(tap, tap.reduce("ReduceSumSquare", x, [0]), layer, use);
      },
      merge: addUp,
    })),
  finish: (totals, tokens) => sumTotals(totals).map((sum) => sum / tokens),
};
