/**
 * The order in which nodes run: nodes with kernels one by one, the others gathered into as few segments as the
 * dependencies allow, because each crossing to another runtime copies its values.
 */
import type { OperatorNode } from "./operator.ts";

export interface Segment {
  readonly nodes: readonly OperatorNode[];
  /** Values that come from outside the segment, constants left out. */
  readonly inputs: readonly string[];
  /** Values of the segment that somebody outside reads. */
  readonly outputs: readonly string[];
}

export type Scheduled =
  | { readonly kind: "node"; readonly node: OperatorNode }
  | { readonly kind: "segment"; readonly segment: Segment };

export interface ScheduleInput {
  /** In topological order. */
  readonly nodes: readonly OperatorNode[];
  readonly outputs: readonly string[];
  readonly isConstant: (value: string) => boolean;
  readonly runsHere: (node: OperatorNode) => boolean;
  /** Values that bodies of control flow read besides the node's inputs. */
  readonly captures: (node: OperatorNode) => readonly string[];
}

/** Cost: O(nodes · segments). */
export function schedule(input: ScheduleInput): Scheduled[] {
  const { nodes, isConstant, runsHere, captures } = input;
  const reads = (node: OperatorNode) => [...node.inputs, ...captures(node)].filter(Boolean);
  const produced = new Set(nodes.flatMap(({ outputs }) => outputs));
  const done = new Set<string>();
  const isReady = (node: OperatorNode) =>
    reads(node).every((value) => !produced.has(value) || done.has(value) || isConstant(value));
  const order: Scheduled[] = [];
  let waiting = [...nodes];
  const takeReady = (wanted: (node: OperatorNode) => boolean): OperatorNode[] => {
    const taken: OperatorNode[] = [];
    // Topological order: one pass finds everything that becomes ready on the way.
    waiting = waiting.filter((node) => {
      if (!wanted(node) || !isReady(node)) return true;
      for (const value of node.outputs) done.add(value);
      taken.push(node);
      return false;
    });
    return taken;
  };
  while (waiting.length > 0) {
    const here = takeReady(runsHere);
    order.push(...here.map((node): Scheduled => ({ kind: "node", node })));
    const elsewhere = takeReady((node) => !runsHere(node));
    if (elsewhere.length > 0) {
      order.push({ kind: "segment", segment: segmentOf(elsewhere, input, reads) });
    }
    if (here.length + elsewhere.length === 0) {
      throw new Error(`bug in bitloom: node "${waiting[0].name}" never becomes ready`);
    }
  }
  return order;
}

function segmentOf(
  nodes: readonly OperatorNode[],
  { nodes: all, outputs, isConstant }: ScheduleInput,
  reads: (node: OperatorNode) => readonly string[],
): Segment {
  const inside = new Set(nodes);
  const made = new Set(nodes.flatMap((node) => node.outputs.filter(Boolean)));
  const readInside = new Set(nodes.flatMap(reads));
  const readOutside = new Set([
    ...outputs,
    ...all.filter((node) => !inside.has(node)).flatMap(reads),
  ]);
  return {
    nodes,
    inputs: [...readInside].filter((value) => !made.has(value) && !isConstant(value)),
    outputs: [...made].filter((value) => readOutside.has(value)),
  };
}
