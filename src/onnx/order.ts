/**
 * Order and dependence of nodes. Invariant: sorting changes nothing about a list that is already in order.
 */
import type { GraphNode } from "./node.ts";

/**
 * Sorts nodes so that every value is produced before it is read: each node stays where it is, unless something it
 * needs comes later; that is pulled in front of it.
 *
 * @returns the nodes in order, or a node on a cycle.
 *
 * Cost: O(nodes + edges), no recursion (graphs are thousands of nodes deep).
 */
export function sortNodes(
  nodes: readonly GraphNode[],
): { readonly sorted: GraphNode[] } | { readonly cycle: GraphNode } {
  const producers = new Map<string, GraphNode>();
  for (const node of nodes) for (const value of node.outputs) if (value) producers.set(value, node);
  const sorted: GraphNode[] = [];
  const state = new Map<GraphNode, "open" | "done">();
  for (const root of nodes) {
    if (state.has(root)) continue;
    const stack = [{ node: root, needs: neededBy(root), next: 0 }];
    state.set(root, "open");
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next === top.needs.length) {
        stack.pop();
        state.set(top.node, "done");
        sorted.push(top.node);
        continue;
      }
      const node = producers.get(top.needs[top.next++]);
      if (node === undefined || state.get(node) === "done") continue;
      if (state.get(node) === "open") return { cycle: node };
      state.set(node, "open");
      stack.push({ node, needs: neededBy(node), next: 0 });
    }
  }
  return { sorted };
}

/** The nodes that the outputs depend on. */
export function nodesFor(outputs: readonly string[], nodes: readonly GraphNode[]): Set<GraphNode> {
  const producers = new Map<string, GraphNode>();
  for (const node of nodes) for (const value of node.outputs) if (value) producers.set(value, node);
  const needed = new Set<GraphNode>();
  const pending = [...outputs];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    const node = producers.get(value);
    if (!node || needed.has(node)) continue;
    needed.add(node);
    pending.push(...neededBy(node));
  }
  return needed;
}

/** Values that must exist before the node runs: its inputs and what its subgraphs read. */
export function neededBy(node: GraphNode): string[] {
  return [...node.inputs.filter((value) => value !== ""), ...node.captures];
}
