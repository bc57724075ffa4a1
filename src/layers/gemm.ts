/** Gemm with a constant B: [K, N], or [N, K] when transB = 1. Bias, alpha, beta and transA stay with the node. */
import { resolveConstant } from "./constant.ts";
import { intAttribute, type LayerKind } from "./kind.ts";

export const gemm: LayerKind = {
  opType: "Gemm",
  summary: "Gemm with a constant B",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[1]);
    if (!weight) return { skipped: "its B operand is computed at run time" };
    if ("skipped" in weight) return weight;
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
      storedTransposed: weight.transposed === transB,
    };
  },
};
