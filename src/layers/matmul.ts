/** MatMul with a constant matrix on the right: the file stores [K, N], or [N, K] behind a Transpose. */
import { isFixed, resolveConstant } from "./constant.ts";
import type { LayerKind } from "./kind.ts";

export const matMul: LayerKind = {
  opType: "MatMul",
  summary: "MatMul with a constant right operand",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[1]);
    if (!weight) {
      return resolveConstant(graph, node.inputs[0])
        ? { skipped: "its constant operand is on the left" }
        : { skipped: "both operands are computed at run time" };
    }
    if ("skipped" in weight) return weight;
    if (isFixed(graph, node.inputs[0])) return { skipped: "both operands are constant" };
    return {
      use: {
        node: node.name,
        opType: "MatMul",
        activation: node.inputs[0],
        output: node.outputs[0],
        dtype: weight.dtype,
      },
      weight,
      position: 1,
      storedTransposed: !weight.transposed,
    };
  },
};
