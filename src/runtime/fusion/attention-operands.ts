/**
 * Where the queries, keys and values of an attention come from: behind transposes of heads and rows, and behind heads
 * repeated by Unsqueeze, Expand and Reshape.
 */
import type { NodeGraph } from "../session/node-graph.ts";
import { integers, intsOf, madeBy } from "./pattern.ts";

/** [batch, heads, rows, size], or [batch, rows, heads, size]. */
export interface Operand {
  readonly value: string;
  readonly rowsFirst: boolean;
}

export const queriesOf = (graph: NodeGraph, value: string): Operand => behindSwap(graph, value);

/** Keys, from their transpose. */
export async function keysOf(graph: NodeGraph, value: string): Promise<Operand | undefined> {
  const transpose = madeBy(graph, value, "Transpose");
  const order = transpose && intsOf(transpose, "perm")?.join();
  if (!transpose || (order !== "0,1,3,2" && order !== "0,2,3,1")) return undefined;
  const rowsFirst = order === "0,2,3,1";
  return behindRepeat(graph, { value: transpose.inputs[0], rowsFirst });
}

export async function valuesOf(graph: NodeGraph, value: string): Promise<Operand> {
  return behindRepeat(graph, behindSwap(graph, value));
}

function behindSwap(graph: NodeGraph, value: string): Operand {
  const transpose = madeBy(graph, value, "Transpose");
  const isSwap = transpose && intsOf(transpose, "perm")?.join() === "0,2,1,3";
  return isSwap ? { value: transpose.inputs[0], rowsFirst: true } : { value, rowsFirst: false };
}

/** The heads before each was repeated for the queries that share it. */
async function behindRepeat(graph: NodeGraph, operand: Operand): Promise<Operand> {
  const reshape = madeBy(graph, operand.value, "Reshape");
  const expand = madeBy(graph, reshape?.inputs[0], "Expand");
  const unsqueeze = madeBy(graph, expand?.inputs[0], "Unsqueeze");
  if (!unsqueeze) return swapped(graph, operand);
  const axes = intsOf(unsqueeze, "axes") ?? (await integers(graph, unsqueeze.inputs[1]));
  const isAfterHeads = axes?.length === 1 && axes[0] === (operand.rowsFirst ? 3 : 2);
  if (!isAfterHeads) return operand;
  return swapped(graph, { ...operand, value: unsqueeze.inputs[0] });
}

function swapped(graph: NodeGraph, operand: Operand): Operand {
  return operand.rowsFirst ? operand : behindSwap(graph, operand.value);
}
