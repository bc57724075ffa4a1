/** max over rows of |x_k|. Cost: one reduction per distinct activation. */
import {
  activationKey,
  activationRows,
  perColumn,
  products,
  type Statistic,
} from "../statistic.ts";

export const absMax: Statistic<"absMax"> = {
  summary: "largest magnitude of each input feature",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit(tap) {
        const sizes = tap.op("Abs", [activationRows(tap, model, layer, use)]);
        return perColumn(tap, tap.reduce("ReduceMax", sizes, [0]), layer, use);
      },
      merge(total, result) {
        const peak = total ?? new Float64Array(result.length);
        for (let k = 0; k < peak.length; k++) peak[k] = Math.max(peak[k], Number(result[k]));
        return peak;
      },
    })),
  finish: (totals) =>
    Float32Array.from(totals[0], (_, k) => Math.max(...totals.map((total) => total[k]))),
};
