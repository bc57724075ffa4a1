/** E‖x Wᵀ‖², bias excluded: the signal in a layer's signal-to-noise ratio. Cost: one reduction per use. */
import { attribute, type GraphTap, type Node } from "../../onnx/index.ts";
import { addUp, products, type Statistic } from "../statistic.ts";
import { measuredOutputs } from "../unfold.ts";

export const outputPower: Statistic<"outputPower"> = {
  summary: "mean square norm of the layer's output rows",
  probes: (layer, { model }) =>
    products(layer).map((use) => ({
      key: use.output,
      emit(tap) {
        const node = model.graph.producer(use.output);
        if (use.window) {
          const output = withoutBias(tap, use.output, node?.inputs[2], use.window.kernel.length);
          const { activation, window } = use;
          const columns = layer.groups * layer.k;
          const measured = measuredOutputs(tap, output, activation, window, columns);
          return tap.reduce("ReduceSumSquare", measured);
        }
        const output =
          node?.opType === "Gemm" ? tap.op("Gemm", node.inputs, plainProduct(node)) : use.output;
        return tap.reduce("ReduceSumSquare", tap.toFloat(output));
      },
      merge: addUp,
    })),
  finish: (totals, tokens) => totals.reduce((sum, [power]) => sum + power, 0) / tokens,
};

/** [batch, N, …] − bias [N], float32. */
function withoutBias(
  tap: GraphTap,
  output: string,
  bias: string | undefined,
  axes: number,
): string {
  const biased = tap.toFloat(output);
  if (!bias) return biased;
  const shape = tap.int64([1, -1, ...new Array<number>(axes).fill(1)]);
  return tap.op("Sub", [biased, tap.op("Reshape", [tap.toFloat(bias), shape])]);
}

/** alpha = 1 and beta = 0 leave x Wᵀ; C stays an input, because before opset 11 it is mandatory. */
const plainProduct = (node: Node) => ({
  ...Object.fromEntries(node.attributes),
  alpha: attribute.float(1),
  beta: attribute.float(0),
});
