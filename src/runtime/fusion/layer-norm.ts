/**
 * Layer norms written out: (x − mean(x)) / √(mean((x − mean(x))²) + ε) · scale + bias becomes one node.
 */
import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import {
  behindCasts,
  isMeanOfLastAxis,
  isRow,
  madeBy,
  onlyUse,
  onlyUseBehindCasts,
  otherInput,
  scalar,
  squareOf,
} from "./pattern.ts";
import { floatTypeOf } from "./pattern-types.ts";

export async function layerNorm(graph: NodeGraph): Promise<void> {
  for (const variance of graph.nodes) {
    if (!(await isMeanOfLastAxis(graph, variance))) continue;
    const centred = await squareOf(graph, variance.inputs[0]);
    const x = centred && (await centredOf(graph, centred));
    const sum = onlyUse(graph, variance.outputs[0], "Add");
    const epsilon = sum && (await scalar(graph, otherInput(sum, variance.outputs[0])));
    const root = onlyUse(graph, sum?.outputs[0], "Sqrt");
    const quotient = onlyUse(graph, root?.outputs[0], "Div");
    if (!x || epsilon === undefined || !quotient || quotient.inputs[1] !== root?.outputs[0])
      continue;
    // Some exporters subtract twice.
    if ((await centredOf(graph, quotient.inputs[0])) !== x) continue;
    const scaled = onlyUseBehindCasts(graph, quotient.outputs[0], "Mul");
    const scale = scaled && otherInput(scaled.node, scaled.value);
    const shifted = onlyUse(graph, scaled?.node.outputs[0], "Add");
    const bias = shifted && scaled && otherInput(shifted, scaled.node.outputs[0]);
    if (!shifted || !scale || !bias) continue;
    if (!(await isRow(graph, scale)) || !(await isRow(graph, bias))) continue;
    graph.replace(
      [shifted],
      [
        {
          opType: "LayerNormalization",
          domain: "",
          name: shifted.name,
          inputs: [await sameType(graph, x, scale), scale, bias],
          outputs: shifted.outputs,
          attributes: { epsilon: attribute.float(epsilon), axis: attribute.int(-1) },
        },
      ],
    );
  }
  graph.prune();
}

/** x, if the value is x − mean(x). */
async function centredOf(graph: NodeGraph, value: string): Promise<string | undefined> {
  const difference = madeBy(graph, value, "Sub");
  const mean = madeBy(graph, difference?.inputs[1], "ReduceMean");
  if (!difference || !mean || !(await isMeanOfLastAxis(graph, mean))) return undefined;
  return mean.inputs[0] === difference.inputs[0] ? difference.inputs[0] : undefined;
}

/** The operator's output has the type of x: a cast before it stays unless the scale has the type behind it. */
async function sameType(graph: NodeGraph, x: string, scale: string): Promise<string> {
  const behind = await behindCasts(graph, x);
  return (await floatTypeOf(graph, behind)) === (await floatTypeOf(graph, scale)) ? behind : x;
}
