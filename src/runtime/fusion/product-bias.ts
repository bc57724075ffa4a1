/**
 * Adds of a constant vector behind a product with constant weights go into the kernel of the product, which has each
 * result in a register when it is done.
 * Invariant: runs behind the fusions that look for Add.
 */
import { lowBitMatMul, lowBitNode, readLowBitNode } from "../operators/matrix/low-bit-node.ts";
import { internalDomain, type NewNode, type NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { isFloat } from "../session/storage.ts";

export async function productBias(graph: NodeGraph): Promise<void> {
  for (const sum of graph.nodes) {
    if (sum.opType !== "Add" || sum.domain !== "") continue;
    for (const [value, bias] of [sum.inputs, [...sum.inputs].reverse()]) {
      if (!graph.isConstant(bias) || graph.isConstant(value)) continue;
      if (graph.isOutput(value) || graph.uses(value).length !== 1) continue;
      const product = graph.producer(value);
      const added = product && (await withBias(graph, product, bias, sum.outputs[0]));
      if (!product || !added) continue;
      graph.replace([product, sum], [added]);
      break;
    }
  }
}

async function withBias(
  graph: NodeGraph,
  product: OperatorNode,
  bias: string,
  output: string,
): Promise<NewNode | undefined> {
  const columns = await vectorLength(graph, bias);
  if (columns === undefined) return undefined;
  const use = readLowBitNode(product);
  if (use) {
    const fits = use.kind === lowBitMatMul && !use.bias && use.weight.n === columns;
    return fits ? lowBitNode({ ...use, bias }, product.name, output) : undefined;
  }
  if (product.opType !== "MatMul" || product.domain !== "") return undefined;
  const [a, b] = product.inputs;
  const shape = graph.constants.source(b)?.shape ?? transposedShape(graph, b);
  const isMatrix = shape?.length === 2 && shape[0] > 0 && shape[1] === columns;
  if (!isMatrix || !graph.isConstant(b)) return undefined;
  return {
    name: product.name,
    opType: "BiasedMatMul",
    domain: internalDomain,
    inputs: [a, b, bias],
    outputs: [output],
  };
}

/** Length of a float vector; undefined for anything else. */
async function vectorLength(graph: NodeGraph, value: string): Promise<number | undefined> {
  const source = graph.constants.source(value);
  if (source && source.shape.length !== 1) return undefined;
  const vector = await graph.constant(value);
  return vector?.shape.length === 1 && isFloat(vector.dtype) ? vector.shape[0] : undefined;
}

/** Shape of an initializer behind a Transpose, the way in which exporters store weights. */
function transposedShape(graph: NodeGraph, value: string): readonly number[] | undefined {
  const node = graph.model.graph.producer(value);
  if (node?.opType !== "Transpose" || node.domain !== "") return undefined;
  const shape = graph.constants.source(node.inputs[0])?.shape;
  const order = node.attributes.get("perm");
  const isSwap = order === undefined || (order.type === "ints" && order.value.join() === "1,0");
  return isSwap && shape?.length === 2 ? [shape[1], shape[0]] : undefined;
}
