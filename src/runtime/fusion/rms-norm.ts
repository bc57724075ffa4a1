/**
 * RMS norms written out: x · 1/√(mean(x²) + ε) · weight becomes one node. Division in place of the reciprocal, both
 * orders of every product, and casts between float types on the way are all the same.
 */
import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import {
  behindCasts,
  isMeanOfLastAxis,
  isNode,
  isRow,
  isScalar,
  onlyUse,
  onlyUseBehindCasts,
  otherInput,
  scalar,
  squareOf,
} from "./pattern.ts";

export async function rmsNorm(graph: NodeGraph): Promise<void> {
  for (const mean of graph.nodes) {
    if (!(await isMeanOfLastAxis(graph, mean))) continue;
    const x = await squareOf(graph, mean.inputs[0]);
    const sum = onlyUse(graph, mean.outputs[0], "Add");
    const epsilon = sum && (await scalar(graph, otherInput(sum, mean.outputs[0])));
    const root = onlyUse(graph, sum?.outputs[0], "Sqrt");
    if (!x || epsilon === undefined || !root) continue;
    const normed = await quotient(graph, x, root);
    const scaled = normed && onlyUseBehindCasts(graph, normed.outputs[0], "Mul");
    const weight = scaled && otherInput(scaled.node, scaled.value);
    if (!scaled || !weight || !(await isRow(graph, weight))) continue;
    graph.replace(
      [scaled.node],
      [
        {
          opType: "SimplifiedLayerNormalization",
          domain: "",
          name: scaled.node.name,
          inputs: [await behindCasts(graph, x), weight],
          outputs: scaled.node.outputs,
          attributes: { epsilon: attribute.float(epsilon), axis: attribute.int(-1) },
        },
      ],
    );
  }
  graph.prune();
}

/** The node that makes x / root. */
async function quotient(
  graph: NodeGraph,
  x: string,
  root: OperatorNode,
): Promise<OperatorNode | undefined> {
  const divided = onlyUse(graph, root.outputs[0], "Div", "Reciprocal");
  if (!divided) return undefined;
  if (isNode(divided, "Div") && divided.inputs[0] === x) return divided;
  if (isNode(divided, "Div") && !(await isScalar(graph, divided.inputs[0], 1))) return undefined;
  const product = onlyUse(graph, divided.outputs[0], "Mul");
  return product && otherInput(product, divided.outputs[0]) === x ? product : undefined;
}
