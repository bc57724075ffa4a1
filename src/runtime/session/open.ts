/**
 * From a model to a program that runs: fusion, choice between kernels and fallback, packing of weights, compilation.
 * Not here: where models come from and what the platform offers (`create-session.ts`, `browser.ts`).
 */
import type { Tiers } from "../../../native/index.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../onnx/types.ts";
import { fuse } from "../fusion/index.ts";
import { operatorKey, operators } from "../operators/index.ts";
import { compileContext } from "./compile-context.ts";
import type { Fallback } from "./fallback.ts";
import { capturesOf, NodeGraph } from "./node-graph.ts";
import type { CompiledStep, Operator, OperatorNode, SupportContext } from "./operator.ts";
import { Program } from "./program.ts";
import { type Segment, schedule } from "./schedule.ts";
import type { Step } from "./step.ts";
import { uploadConstants } from "./upload.ts";
import { Value } from "./values.ts";

export interface BuildOptions {
  readonly model: Model;
  readonly engine: Engine;
  readonly fallback: Fallback;
  readonly tiers: Tiers;
  readonly precision: "exact" | "fast";
  /** Names of inputs and the outputs whose value they take in the next run. */
  readonly carried: ReadonlyMap<string, string>;
  /** Nodes that go to the fallback, with the reason. */
  readonly onFallback: (node: OperatorNode, reason: string) => void;
}

export interface BuiltProgram {
  readonly program: Program;
  readonly outputs: ReadonlyMap<string, Value>;
  readonly nodes: number;
  readonly fallbackNodes: number;
}

interface Prepared {
  readonly operator: Operator;
  readonly compiled: CompiledStep | undefined;
}

/** @param feedNames - inputs of the graph and initializers that a caller may override, in the order of the feeds. */
export async function buildProgram(
  options: BuildOptions,
  feedNames: readonly string[],
): Promise<BuiltProgram> {
  const { model, engine, fallback } = options;
  const graph = new NodeGraph(model, usable);
  await fuse(graph);
  const prepared = await prepare(graph, options);
  const order = schedule({
    nodes: graph.nodes,
    outputs: graph.outputs,
    isConstant: (value) => graph.isConstant(value),
    runsHere: (node) => prepared.has(node),
    captures: capturesOf,
  });
  const values = new Map<string, Value>();
  const valueNamed = (name: string): Value => {
    const known = values.get(name);
    if (known) return known;
    const value = new Value(name, graph.isConstant(name));
    values.set(name, value);
    return value;
  };
  const feeds = feedNames.map(valueNamed);
  const optional = (name: string) => (name ? valueNamed(name) : undefined);
  const steps = order.map((item): Step => {
    if (item.kind === "segment") return segmentStep(item.segment);
    const { node } = item;
    return {
      kind: "node",
      node,
      ...(prepared.get(node) as Prepared),
      inputs: node.inputs.map(optional),
      outputs: node.outputs.map(optional),
      mode: "nothing",
      planned: "nothing",
      execute: () => undefined,
      workspace: undefined,
    };
  });
  function segmentStep(segment: Segment): Step {
    return {
      kind: "segment",
      segment,
      inputs: segment.inputs.map(valueNamed),
      outputs: segment.outputs.map(valueNamed),
      run: fallback.segment(model, segment),
    };
  }
  const outputs = new Map(graph.outputs.map((name) => [name, valueNamed(name)]));
  await uploadConstants(graph, steps, [...outputs.values()], engine);
  await engine.seal();
  const carried = [...options.carried].map(([past, present]) => ({
    past: valueNamed(past),
    present: valueNamed(present),
    start: emptyPast(model, past),
  }));
  return {
    program: new Program({ engine, steps, feeds, carried }),
    outputs,
    nodes: graph.nodes.length,
    fallbackNodes: graph.nodes.filter((node) => !prepared.has(node)).length,
  };
}

/** The operator of a node that can be computed here, as far as the file tells. */
function usable(node: OperatorNode, context: SupportContext): Operator | undefined {
  const operator = operators[operatorKey(node)];
  return operator && operator.refuses?.(node, context) === undefined ? operator : undefined;
}

/** Compiles what can run here; the others are missing from the result. */
async function prepare(
  graph: NodeGraph,
  options: BuildOptions,
): Promise<Map<OperatorNode, Prepared>> {
  const prepared = new Map<OperatorNode, Prepared>();
  const contextOf = compileContext(graph, options);
  for (const node of graph.nodes) {
    const operator = operators[operatorKey(node)];
    const refusal = operator
      ? operator.refuses?.(node, graph.supportContext(node))
      : "it has no kernel";
    if (!operator || refusal !== undefined) {
      options.onFallback(node, refusal ?? "it has no kernel");
      continue;
    }
    const compiled = await operator.compile?.(node, contextOf(node));
    if (compiled || operator.compute || operator.alias) prepared.set(node, { operator, compiled });
    else options.onFallback(node, "its attributes have no kernel");
  }
  return prepared;
}

/** A cache before the first token: every symbolic dimension 1 for the batch, 0 for the length. */
function emptyPast(model: Model, name: string) {
  const info = model.graph.inputs.find((input) => input.name === name);
  const shape = (info?.shape ?? []).map((dim, index) =>
    typeof dim === "number" ? dim : index === 0 ? 1 : 0,
  );
  return { dtype: info?.dtype ?? ("float32" as const), shape };
}
