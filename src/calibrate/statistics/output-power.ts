/** E‖x Wᵀ‖², bias excluded: the signal in a layer's signal-to-noise ratio. Cost: one reduction per use. */
import { attribute, type Node } from "../../onnx/index.ts";
import { addUp, products, type Statistic } from "../statistic.ts";

export const outputPower: Statistic<"outputPower"> = {
  summary: "mean square norm of the layer's output rows",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: use.output,
      emit(tap) {
        const node = model.graph.producer(use.output);
        const output =
          node?.opType === "Gemm" ? tap.op("Gemm", node.inputs, plainProduct(node)) : use.output;
        return tap.reduce("ReduceSumSquare", tap.toFloat(output));
      },
      merge: addUp,
    })),
  finish: (totals, tokens) => totals.reduce((sum, [power]) => sum + power, 0) / tokens,
};

/** alpha = 1 and beta = 0 leave x Wᵀ; C stays an input, because before opset 11 it is mandatory. */
const plainProduct = (node: Node) => ({
  ...Object.fromEntries(node.attributes),
  alpha: attribute.float(1),
  beta: attribute.float(0),
});
