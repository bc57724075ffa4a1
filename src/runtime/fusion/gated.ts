/**
 * Gated perceptrons: act(gate) · up becomes one node for SiLU (written out or as QuickGelu of alpha 1) and both GELUs.
 * SiLU alone becomes one node too.
 */
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { isNode, onlyUse, otherInput } from "./pattern.ts";

export function gated(graph: NodeGraph): void {
  for (const sigmoid of graph.nodes) {
    if (!isNode(sigmoid, "Sigmoid")) continue;
    const product = onlyUse(graph, sigmoid.outputs[0], "Mul");
    if (!product || otherInput(product, sigmoid.outputs[0]) !== sigmoid.inputs[0]) continue;
    graph.replace(
      [sigmoid, product],
      [{ opType: "Silu", name: product.name, inputs: sigmoid.inputs, outputs: product.outputs }],
    );
  }
  for (const activation of graph.nodes) {
    const opType = gateOf(activation);
    const product = opType && onlyUse(graph, activation.outputs[0], "Mul");
    const up = product && otherInput(product, activation.outputs[0]);
    if (!opType || !product || !up || up === activation.outputs[0]) continue;
    graph.replace(
      [activation, product],
      [
        {
          opType,
          name: product.name,
          inputs: [activation.inputs[0], up],
          outputs: product.outputs,
        },
      ],
    );
  }
}

/** The gated form of an activation. */
function gateOf({ opType, domain, inputs, attributes }: OperatorNode): string | undefined {
  const approximate = attributes.get("approximate");
  const isTanh = approximate?.type === "string" && approximate.value === "tanh";
  if (domain === "bitloom.internal" && opType === "Silu") return "SiluMul";
  if (opType === "Gelu" && domain !== "com.microsoft") return isTanh ? "GeluTanhMul" : "GeluMul";
  if (domain !== "com.microsoft" || inputs[1]) return undefined;
  const alpha = attributes.get("alpha");
  if (opType === "QuickGelu" && alpha?.type === "float" && alpha.value === 1) return "SiluMul";
  if (opType === "Gelu") return "GeluMul";
  return opType === "FastGelu" ? "GeluTanhMul" : undefined;
}
