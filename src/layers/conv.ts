/** Conv: found and named, so that `inspect` shows what is left in float. */
import { storedConstant } from "../onnx/index.ts";
import type { LayerKind } from "./kind.ts";

export const conv: LayerKind = {
  opType: "Conv",
  summary: "Conv with constant weights: reported, not yet quantized",
  match(node, graph) {
    return storedConstant(graph, node.inputs[1])
      ? { skipped: "Conv is not supported yet; its weight stays in float" }
      : { skipped: "its weight is computed at run time" };
  },
};
