/**
 * 6-bit weights that a file holds as a 4-bit and a 2-bit half become one 6-bit weight again:
 *
 *   s·(q − z) = 4 · s·(q_hi − z_hi) + s·(q_lo − z_lo),  q = 4·q_hi + q_lo,  z = 4·z_hi + z_lo
 *
 * Invariant: runs behind `lowBitNodes`, whose nodes it reads.
 */
import { type LowBitUse, lowBitNode, readLowBitNode } from "../operators/matrix/low-bit-node.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";

interface Half {
  readonly node: OperatorNode;
  readonly use: LowBitUse;
}

export async function sixBitPair(graph: NodeGraph): Promise<void> {
  for (const sum of graph.nodes) {
    if (sum.opType !== "Add" || sum.domain !== "") continue;
    for (const [scaled, rest] of [sum.inputs, [...sum.inputs].reverse()]) {
      const product = innerNode(graph, scaled);
      const low = half(graph, rest);
      if (!low || product?.opType !== "Mul" || product.domain !== "") continue;
      const high = half(graph, product.inputs[0]) ?? half(graph, product.inputs[1]);
      if (!high || !areHalves(high.use, low.use)) continue;
      const factor = product.inputs.find((value) => value !== high.node.outputs[0]);
      if (!(await isFour(graph, factor))) continue;
      graph.replace(
        [high.node, low.node, product, sum],
        [lowBitNode(joined(high.use, low.use), sum.name, sum.outputs[0])],
      );
      break;
    }
  }
}

/** The node behind a value that nobody else reads. */
function innerNode(graph: NodeGraph, value: string): OperatorNode | undefined {
  const isInner = !graph.isOutput(value) && graph.uses(value).length === 1;
  return isInner ? graph.producer(value) : undefined;
}

function half(graph: NodeGraph, value: string): Half | undefined {
  const node = innerNode(graph, value);
  const use = node && readLowBitNode(node);
  return use && { node, use };
}

function areHalves(high: LowBitUse, low: LowBitUse): boolean {
  const [a, b] = [high.weight, low.weight];
  const same =
    high.kind === low.kind &&
    high.input === low.input &&
    high.dtype === low.dtype &&
    !high.bias &&
    !low.bias &&
    a.scales === b.scales &&
    a.n === b.n &&
    a.k === b.k &&
    a.blockSize === b.blockSize;
  return same && a.bits === 4 && b.bits === 2;
}

const joined = (high: LowBitUse, low: LowBitUse): LowBitUse => ({
  ...high,
  weight: {
    ...high.weight,
    bits: 6,
    zeroPoint: 4 * high.weight.zeroPoint + low.weight.zeroPoint,
    lowCodes: low.weight.codes,
    lowZeroPoints: low.weight.zeroPoints,
  },
});

async function isFour(graph: NodeGraph, value: string | undefined): Promise<boolean> {
  if (value === undefined || !graph.isConstant(value)) return false;
  const constant = await graph.constant(value);
  return constant?.data.length === 1 && constant.data[0] === 4;
}
