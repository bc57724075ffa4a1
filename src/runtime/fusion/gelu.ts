/**
 * GELU written out, with erf or tanh, becomes one node:
 *
 *   x/2 · (1 + erf(x / √2)),  x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))
 */
import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { besideScalar, isNode, isScalar, madeBy, onlyUse, otherInput } from "./pattern.ts";

export async function gelu(graph: NodeGraph): Promise<void> {
  for (const node of graph.nodes) {
    const isTanh = isNode(node, "Tanh");
    if (!isTanh && !isNode(node, "Erf")) continue;
    const x = await (isTanh ? tanhArgument(graph, node) : erfArgument(graph, node));
    const sum = onlyUse(graph, node.outputs[0], "Add");
    if (!x || !sum || !(await isScalar(graph, otherInput(sum, node.outputs[0]), 1))) continue;
    const last = await halfProduct(graph, sum.outputs[0], x);
    if (!last) continue;
    graph.replace(
      [last],
      [
        {
          opType: "Gelu",
          name: last.name,
          inputs: [x],
          outputs: last.outputs,
          attributes: { approximate: attribute.str(isTanh ? "tanh" : "none") },
        },
      ],
    );
  }
  graph.prune();
}

/** x of erf(x / √2). */
async function erfArgument(graph: NodeGraph, erf: OperatorNode): Promise<string | undefined> {
  const quotient = madeBy(graph, erf.inputs[0], "Div");
  if (quotient && (await isScalar(graph, quotient.inputs[1], Math.SQRT2)))
    return quotient.inputs[0];
  return besideScalar(graph, madeBy(graph, erf.inputs[0], "Mul"), Math.SQRT1_2);
}

/** x of tanh(√(2/π) · (x + 0.044715 · x³)). */
async function tanhArgument(graph: NodeGraph, tanh: OperatorNode): Promise<string | undefined> {
  const scaled = madeBy(graph, tanh.inputs[0], "Mul");
  const sum = madeBy(graph, await besideScalar(graph, scaled, Math.sqrt(2 / Math.PI)), "Add");
  for (const value of sum?.inputs ?? []) {
    const cube = await besideScalar(graph, madeBy(graph, value, "Mul"), 0.044715);
    const x = sum && otherInput(sum, value);
    if (x && cube && (await cubeOf(graph, cube)) === x) return x;
  }
  return undefined;
}

async function cubeOf(graph: NodeGraph, value: string): Promise<string | undefined> {
  const power = madeBy(graph, value, "Pow");
  if (power) return (await isScalar(graph, power.inputs[1], 3)) ? power.inputs[0] : undefined;
  const product = madeBy(graph, value, "Mul");
  for (const factor of product?.inputs ?? []) {
    const square = madeBy(graph, factor, "Mul");
    const x = product && otherInput(product, factor);
    if (square && x && square.inputs.every((input) => input === x)) return x;
  }
  return undefined;
}

/** The node that makes x · 0.5 · sum, in any order. */
async function halfProduct(
  graph: NodeGraph,
  sum: string,
  x: string,
): Promise<OperatorNode | undefined> {
  const first = onlyUse(graph, sum, "Mul");
  const other = first && otherInput(first, sum);
  if (!first || !other) return undefined;
  if ((await besideScalar(graph, madeBy(graph, other, "Mul"), 0.5)) === x) return first;
  const second = onlyUse(graph, first.outputs[0], "Mul");
  const rest = second && otherInput(second, first.outputs[0]);
  if (other === x) return (await isScalar(graph, rest, 0.5)) ? second : undefined;
  return (await isScalar(graph, other, 0.5)) && rest === x ? second : undefined;
}
