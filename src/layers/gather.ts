/** Gather of rows from a constant table (embedding): W [N, K] has one row per table entry. */
import { isFixed, resolveConstant } from "./constant.ts";
import { intAttribute, type LayerKind } from "./kind.ts";

export const gather: LayerKind = {
  opType: "Gather",
  summary: "Gather of rows from a constant table (embedding)",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[0]);
    if (!weight) return { skipped: "its table is computed at run time" };
    if ("skipped" in weight) return weight;
    if (isFixed(graph, node.inputs[1])) return { skipped: "its indices are constant" };
    const axis = intAttribute(node, "axis", 0);
    if (axis !== 0 && axis !== -2) return { skipped: "it gathers columns, not rows" };
    return {
      use: {
        node: node.name,
        opType: "Gather",
        activation: node.inputs[1],
        output: node.outputs[0],
        dtype: weight.dtype,
      },
      weight,
      position: 0,
      storedTransposed: weight.transposed,
    };
  },
};
