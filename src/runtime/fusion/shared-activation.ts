/**
 * Low-bit products that read the same activation (query, key and value; gate and up) quantize it once.
 * Where codes of 8 bits ask for another activation type than the others, they have a quantization of their own.
 * Invariant: runs last of the fusions that make low-bit products.
 */
import {
  type LowBitUse,
  lowBitMatMul,
  lowBitNode,
  readLowBitNode,
} from "../operators/matrix/low-bit-node.ts";
import { quantizeNode } from "../operators/matrix/quantize-activation.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { isFloat } from "../session/storage.ts";
import type { FusionOptions } from "./index.ts";

interface Product {
  readonly node: OperatorNode;
  readonly use: LowBitUse;
}

export function sharedActivation(graph: NodeGraph, { activationType }: FusionOptions): void {
  const groups = new Map<string, Product[]>();
  for (const node of graph.nodes) {
    const use = readLowBitNode(node);
    if (use?.kind !== lowBitMatMul || use.quantized) continue;
    const wide = widened(graph, use);
    const { k, bits } = wide.weight;
    const key = JSON.stringify([wide.input, k, activationType(bits)]);
    groups.set(key, [...(groups.get(key) ?? []), { node, use: wide }]);
  }
  for (const products of groups.values()) if (products.length > 1) share(graph, products);
}

/** Reads the 16-bit float behind a Cast to float32: in memory they are the same. */
function widened(graph: NodeGraph, use: LowBitUse): LowBitUse {
  const node = graph.producer(use.input);
  const to = node?.attributes.get("to");
  const isWidening = node?.opType === "Cast" && node.domain === "" && to?.type === "int";
  if (!isWidening || to.value !== 1 || !isFloat(graph.dtype(node.inputs[0]))) return use;
  return { ...use, input: node.inputs[0], dtype: use.dtype ?? "float32" };
}

function share(graph: NodeGraph, products: readonly Product[]): void {
  const { input, weight } = products[0].use;
  const quantized = graph.uniqueName(`${input}_quantized`);
  const quantize = quantizeNode(input, quantized, quantized, weight);
  for (const [index, { node, use }] of products.entries()) {
    const product = lowBitNode({ ...use, quantized }, node.name, node.outputs[0]);
    graph.replace([node], index === 0 ? [quantize, product] : [product]);
  }
}
