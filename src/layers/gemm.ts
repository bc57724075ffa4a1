/** Gemm with a constant B: [K, N], or [N, K] when transB = 1. Bias, alpha, beta and transA stay with the node. */
import { isFixed, resolveConstant } from "./constant.ts";
import { intAttribute, type LayerKind } from "./kind.ts";

export const gemm: LayerKind = {
  opType: "Gemm",
  summary: "Gemm with a constant B",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[1]);
    if (!weight) {
      return resolveConstant(graph, node.inputs[0])
        ? { skipped: "its constant operand is on the left" }
        : { skipped: "both operands are computed at run time" };
    }
    if ("skipped" in weight) return weight;
    if (isFixed(graph, node.inputs[0])) return { skipped: "both operands are constant" };
    const transB = intAttribute(node, "transB", 0) !== 0;
    return {
      use: {
        node: node.name,
        opType: "Gemm",
        activation: node.inputs[0],
        output: node.outputs[0],
        dtype: weight.dtype,
      },
      weight,
      position: 1,
      storedTransposed: weight.transposed === transB,
    };
  },
};
