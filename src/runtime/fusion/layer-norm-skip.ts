/**
 * A residual sum and the norm of it become one node, which gives the sum too where others read it.
 * Not here: shapes; the fused norms add whatever broadcasts.
 */

import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import { intOf, isNode, madeBy } from "./pattern.ts";
import { floatTypeOf } from "./pattern-types.ts";

export async function skipNorm(graph: NodeGraph): Promise<void> {
  for (const norm of graph.nodes) {
    const isLayerNorm = isNode(norm, "LayerNormalization");
    if (!isLayerNorm && !isNode(norm, "SimplifiedLayerNormalization", "RMSNormalization")) continue;
    const [x, scale, bias = ""] = norm.inputs;
    const sum = madeBy(graph, x, "Add");
    if (!sum || intOf(norm, "axis", -1) !== -1 || norm.outputs.slice(1).some(Boolean)) continue;
    // Sums of a constant are biases; a scale of several axes is none of these operators'.
    if (sum.inputs.some((value) => graph.isConstant(value))) continue;
    if (!graph.isConstant(scale) || (bias && !graph.isConstant(bias))) continue;
    if (!isLayerNorm && !(await hasTypeOf(graph, scale, sum.outputs[0]))) continue;
    const epsilon = norm.attributes.get("epsilon") ?? attribute.float(1e-5);
    const isRead = graph.isOutput(x) || graph.uses(x).length > 1;
    graph.replace(
      [sum, norm],
      [
        {
          opType: isLayerNorm ? "SkipLayerNormalization" : "SkipSimplifiedLayerNormalization",
          domain: "com.microsoft",
          name: norm.name,
          inputs: [...sum.inputs, scale, ...(bias ? [bias] : [])],
          outputs: [norm.outputs[0], ...(isRead ? ["", "", x] : [])],
          attributes: { epsilon },
        },
      ],
    );
  }
}

/** Without centring the output has the scale's type, in the fused form the summands'. */
async function hasTypeOf(graph: NodeGraph, scale: string, summand: string): Promise<boolean> {
  const dtype = await floatTypeOf(graph, summand);
  return dtype !== undefined && dtype === (await floatTypeOf(graph, scale));
}
