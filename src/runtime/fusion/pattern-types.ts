/**
 * The float type of a value that the file does not declare, traced back through nodes that keep it.
 */
import type { DType } from "../../core/tensor.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import { isFloat } from "../session/storage.ts";

/** The input whose type the first output has, for nodes that occur between projections and norms. */
const typeInputs: Readonly<Record<string, number>> = {
  Add: 1,
  Sub: 0,
  Mul: 0,
  Div: 0,
  MatMul: 0,
  BiasedMatMul: 0,
  Gemm: 0,
  Gather: 0,
  Reshape: 0,
  Transpose: 0,
  Identity: 0,
  Tanh: 0,
  Gelu: 0,
  Silu: 0,
  SiluMul: 0,
  GeluMul: 0,
  GeluTanhMul: 0,
  Rotary: 0,
  PlainAttention: 2,
  LayerNormalization: 0,
  SimplifiedLayerNormalization: 1,
  RMSNormalization: 1,
  SkipLayerNormalization: 0,
  SkipSimplifiedLayerNormalization: 0,
  GroupQueryAttention: 0,
  MultiHeadAttention: 0,
  Attention: 0,
  LowBitMatMul: 0,
  MatMulNBits: 0,
};

/** Undefined where it cannot be told, or is no float. */
export async function floatTypeOf(graph: NodeGraph, value: string): Promise<DType | undefined> {
  let traced = value;
  for (;;) {
    const declared = graph.dtype(traced) ?? (await constantType(graph, traced));
    if (declared !== undefined) return isFloat(declared) ? declared : undefined;
    const node = graph.producer(traced);
    if (!node) return undefined;
    const dtype = node.attributes.get("dtype");
    if (dtype?.type === "string")
      return isFloat(dtype.value as DType) ? (dtype.value as DType) : undefined;
    const input = node.inputs[typeInputs[node.opType] ?? -1];
    if (!input) return undefined;
    traced = input;
  }
}

async function constantType(graph: NodeGraph, value: string): Promise<DType | undefined> {
  return graph.isConstant(value) ? (await graph.constant(value))?.dtype : undefined;
}
