/** E‖x Wᵀ‖², bias excluded: the signal in a layer's signal-to-noise ratio. Cost: one reduction per use. */
import { addUp, products, type Statistic } from "../statistic.ts";

export const outputPower: Statistic<"outputPower"> = {
  summary: "mean square norm of the layer's output rows",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: use.output,
      emit(tap) {
        const node = model.graph.producer(use.output);
        const output =
          node?.opType === "Gemm"
            ? tap.op("Gemm", node.inputs.slice(0, 2), Object.fromEntries(node.attributes))
            : use.output;
        return tap.reduce("ReduceSumSquare", tap.toFloat(output));
      },
      merge: addUp,
    })),
  finish: (totals, tokens) => totals.reduce((sum, [power]) => sum + power, 0) / tokens,
};
