/**
 * Attention written out — transposes, repeated heads, product, scale, soft cap, mask, softmax, product — becomes one
 * node that reads queries, keys and values as they lie, so that heads are never repeated and scores never stored.
 * Invariant: the node computes what the chain did for every feed of four axes.
 */
import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { keysOf, type Operand, queriesOf, valuesOf } from "./attention-operands.ts";
import { type Scores, scoresOf } from "./attention-scores.ts";
import { intOf, intsOf, isNode, madeBy, onlyUse } from "./pattern.ts";

export async function attention(graph: NodeGraph): Promise<void> {
  for (const product of graph.nodes) {
    if (!isNode(product, "MatMul")) continue;
    const softmax = softmaxBehind(graph, product.inputs[0]);
    const found = softmax && (await maskedScores(graph, softmax.inputs[0]));
    if (!found) continue;
    const { scores, mask } = found;
    const keys = await keysOf(graph, scores.keys);
    if (!keys) continue;
    const queries = queriesOf(graph, scores.queries);
    const values = await valuesOf(graph, product.inputs[1]);
    const transpose = onlyUse(graph, product.outputs[0], "Transpose");
    const isTurned = transpose !== undefined && isHeadSwap(transpose);
    const last = isTurned ? transpose : product;
    const flag = (operand: Operand) => attribute.int(operand.rowsFirst ? 1 : 0);
    graph.replace(
      [last],
      [
        {
          opType: "PlainAttention",
          name: product.name,
          inputs: [queries.value, keys.value, values.value, mask ?? "", ...scores.scales],
          outputs: last.outputs,
          attributes: {
            scale: attribute.float(scores.scale),
            softcap: attribute.float(scores.softcap),
            queries_rows_first: flag(queries),
            keys_rows_first: flag(keys),
            values_rows_first: flag(values),
            output_rows_first: attribute.int(isTurned ? 1 : 0),
          },
        },
      ],
    );
  }
  graph.prune();
}

/** True for [a, b, c, d] → [a, c, b, d]. */
export const isHeadSwap = (node: OperatorNode): boolean =>
  intsOf(node, "perm")?.join() === "0,2,1,3";

const onlyMadeBy = (graph: NodeGraph, value: string, ...names: string[]) =>
  !graph.isOutput(value) && graph.uses(value).length === 1
    ? madeBy(graph, value, ...names)
    : undefined;

/** The softmax over the last axis that makes a value, behind casts between float types. */
function softmaxBehind(graph: NodeGraph, value: string): OperatorNode | undefined {
  const node = onlyMadeBy(graph, value, "Softmax", "Cast");
  if (!node) return undefined;
  if (isNode(node, "Cast")) {
    const to = intOf(node, "to", 0);
    return to === 1 || to === 10 || to === 16 ? softmaxBehind(graph, node.inputs[0]) : undefined;
  }
  const axis = intOf(node, "axis", node.opset < 13 ? 1 : -1);
  return axis === -1 || axis === 3 ? node : undefined;
}

interface Masked {
  readonly scores: Scores;
  readonly mask: string | undefined;
}

async function maskedScores(graph: NodeGraph, value: string): Promise<Masked | undefined> {
  const cast = onlyMadeBy(graph, value, "Cast");
  if (cast) {
    const isWide = intOf(cast, "to", 0) === 1;
    return isWide ? maskedScores(graph, cast.inputs[0]) : undefined;
  }
  const sum = onlyMadeBy(graph, value, "Add");
  for (const [at, side] of sum?.inputs.entries() ?? []) {
    const scores = await scoresOf(graph, side);
    if (sum && scores) return { scores, mask: sum.inputs[1 - at] };
  }
  const scores = sum ? undefined : await scoresOf(graph, value);
  return scores && { scores, mask: undefined };
}
