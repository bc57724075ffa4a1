/**
 * What an operator may use while it is compiled: constants, memory, tasks.
 */

import type { NodeGraph } from "./node-graph.ts";
import type { BuildOptions } from "./open.ts";
import type { CompileContext, OperatorNode } from "./operator.ts";

export function compileContext(
  graph: NodeGraph,
  { engine, tiers, precision }: Pick<BuildOptions, "engine" | "tiers" | "precision">,
): (node: OperatorNode) => CompileContext {
  const shared = new Map<string, Promise<unknown>>();
  return (node) => ({
    ...graph.supportContext(node),
    precision,
    tiers,
    constant: async (input) => {
      const name = node.inputs[input];
      return name ? graph.constant(name) : undefined;
    },
    initializerBytes: async (input) => graph.constants.source(node.inputs[input] ?? "")?.bytes(),
    reserve: (byteLength) => {
      const pointer = engine.take(byteLength);
      return { pointer, bytes: engine.bytes().subarray(pointer, pointer + byteLength) };
    },
    task: (kernel) => engine.task(kernel),
    memory: () => engine.bytes(),
    shared: <T>(key: string, make: () => Promise<T>) => {
      const known = shared.get(key) as Promise<T> | undefined;
      if (known) return known;
      const made = make();
      shared.set(key, made);
      return made;
    },
  });
}
