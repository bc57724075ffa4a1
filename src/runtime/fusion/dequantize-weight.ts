/**
 * Weights behind a DequantizeLinear become low-bit weights: MatMul(A, Transpose(W)) a product, Gather(W, ids) a lookup,
 * where W = DequantizeLinear(codes), reshaped or not, has its blocks or rows along K.
 */

import type { Node } from "../../onnx/types.ts";
import {
  type LowBitUse,
  type LowBitWeight,
  lowBitGather,
  lowBitMatMul,
  lowBitNode,
  whyNotLowBit,
} from "../operators/matrix/low-bit-node.ts";
import { intAttribute, intsAttribute } from "../operators/tensor/attributes.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { factsOf } from "./low-bit-nodes.ts";

export async function dequantizeWeight(graph: NodeGraph): Promise<void> {
  for (const node of graph.nodes) {
    const use = node.domain === "" ? await useOf(graph, node) : undefined;
    if (use) graph.replace([node], [lowBitNode(use, node.name, node.outputs[0])]);
  }
}

async function useOf(graph: NodeGraph, node: OperatorNode): Promise<LowBitUse | undefined> {
  const common = { quantized: "", bias: "" };
  if (node.opType === "MatMul") {
    const transpose = producer(graph, node.inputs[1], "Transpose");
    const order = transpose && intsAttribute(transpose, "perm");
    if (!transpose || (order && order.join() !== "1,0")) return undefined;
    const weight = await weightOf(graph, transpose.inputs[0]);
    const dtype = undefined;
    return weight && { ...common, kind: lowBitMatMul, weight, input: node.inputs[0], dtype };
  }
  if (node.opType !== "Gather" || intAttribute(node, "axis", 0) !== 0) return undefined;
  const weight = await weightOf(graph, node.inputs[0]);
  const dtype = graph.dtype(weight?.scales ?? "") === "float16" ? "float16" : "float32";
  const isWidened = weight && dequantizer(graph, node.inputs[0])?.inputs[1] !== weight.scales;
  return (
    weight && {
      ...common,
      kind: lowBitGather,
      weight,
      input: node.inputs[1],
      dtype: isWidened ? "float32" : dtype,
    }
  );
}

function producer(graph: NodeGraph, value: string, opType: string): Node | undefined {
  const node = graph.model.graph.producer(value);
  return node?.opType === opType && node.domain === "" ? node : undefined;
}

function dequantizer(graph: NodeGraph, value: string): Node | undefined {
  const reshape = producer(graph, value, "Reshape");
  return producer(graph, reshape ? reshape.inputs[0] : value, "DequantizeLinear");
}

/** W [N, K]; undefined when the value is no such weight. */
async function weightOf(graph: NodeGraph, value: string): Promise<LowBitWeight | undefined> {
  const node = dequantizer(graph, value);
  if (!node) return undefined;
  const facts = factsOf(graph);
  const [codes, scaleValue, zeroPoints = ""] = node.inputs;
  const scales = facts.traced(scaleValue);
  const stored = facts.shape(codes);
  const dtype = facts.dtype(codes);
  const type = /^(u?)int([248])$/.exec(dtype ?? "");
  const scaleShape = facts.shape(scales);
  const isStored = zeroPoints === "" || facts.shape(zeroPoints) !== undefined;
  if (!stored || !type || !scaleShape || !isStored) return undefined;
  const axis = intAttribute(node, "axis", 1);
  const matrix = asMatrix(stored, axis, intAttribute(node, "block_size", 0), scaleShape);
  if (!matrix || !(await keepsMatrix(graph, value, stored))) return undefined;
  const bits = Number(type[2]) as LowBitWeight["bits"];
  const zeroPoint = type[1] === "u" ? 0 : 2 ** (bits - 1);
  const shape = { ...matrix, bits };
  if (whyNotLowBit(shape)) return undefined;
  return { ...shape, zeroPoint, codes, scales, zeroPoints, lowCodes: "", lowZeroPoints: "" };
}

/** Codes [N, K] with blocks along K, or [N, K] or [1, N, K] with a scale per row. */
function asMatrix(
  shape: readonly number[],
  axis: number,
  blockSize: number,
  scales: readonly number[],
): Pick<LowBitWeight, "n" | "k" | "blockSize"> | undefined {
  const [n, k] = shape.slice(-2);
  const at = axis < 0 ? axis + shape.length : axis;
  if (blockSize > 0) {
    const isFitting = shape.length === 2 && at === 1 && scales.length === 2 && scales[0] === n;
    return isFitting ? { n, k, blockSize } : undefined;
  }
  const isMatrix = shape.length === 2 || (shape.length === 3 && shape[0] === 1);
  const isPerRow = scales.length === 1 && scales[0] === n && at === shape.length - 2;
  return isMatrix && isPerRow ? { n, k, blockSize: k } : undefined;
}

/** True when a Reshape between the weight and its reader only drops a leading dimension of 1. */
async function keepsMatrix(
  graph: NodeGraph,
  value: string,
  stored: readonly number[],
): Promise<boolean> {
  const reshape = producer(graph, value, "Reshape");
  if (!reshape) return stored.length === 2;
  const target = await graph.constant(reshape.inputs[1]);
  const sizes = stored.slice(-2);
  if (target?.data.length !== 2) return false;
  return sizes.every((size, at) => target.data[at] === size || target.data[at] === -1);
}
