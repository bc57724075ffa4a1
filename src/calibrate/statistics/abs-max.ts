/** max over rows of |x_k|. Cost: one reduction per distinct activation. */
import { activationKey, activationRows, products, type Statistic } from "../statistic.ts";

export const absMax: Statistic<"absMax"> = {
  summary: "largest magnitude of each input feature",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: activationKey(model, use),
      emit: (tap) =>
        tap.reduce("ReduceMax", tap.op("Abs", [activationRows(tap, model, layer, use)]), [0]),
      merge(total, result) {
        const peak = total ?? new Float64Array(result.length);
        for (let k = 0; k < peak.length; k++) peak[k] = Math.max(peak[k], Number(result[k]));
        return peak;
      },
    })),
  finish: (totals) =>
    Float32Array.from(totals[0], (_, k) => Math.max(...totals.map((total) => total[k]))),
};
