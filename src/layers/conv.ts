/** Conv: found and named, so that `inspect` shows what is left in float. */
import { resolveConstant } from "./constant.ts";
import type { LayerKind } from "./kind.ts";

const notYet = "Conv is not supported yet; its weight stays in float";

export const conv: LayerKind = {
  opType: "Conv",
  summary: "Conv with constant weights: reported, not yet quantized",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[1]);
    return { skipped: weight ? notYet : "its weight is computed at run time" };
  },
};
