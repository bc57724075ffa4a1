/**
 * From a model to a program that runs: fusion, choice between kernels and fallback, packing of weights, compilation.
 * Not here: where models come from and what the platform offers (`create-session.ts`, `browser.ts`).
 */
import { activationTypeFor, type Tiers } from "../../../native/index.ts";
import { invariant } from "../../core/errors.ts";
import type { DType } from "../../core/tensor.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../onnx/types.ts";
import { type FusionOptions, fuse } from "../fusion/index.ts";
import { operatorKey, operators } from "../operators/index.ts";
import { emptyCache } from "./caches.ts";
import { compileContext } from "./compile-context.ts";
import type { Fallback } from "./fallback.ts";
import { capturesOf, NodeGraph } from "./node-graph.ts";
import type { CompiledStep, Operator, OperatorNode, SupportContext } from "./operator.ts";
import { Program } from "./program.ts";
import { type Segment, schedule } from "./schedule.ts";
import type { Step } from "./step.ts";
import { isStored } from "./storage.ts";
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
  const { graph, prepared } = await prepareGraph(options);
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
      inferred: -1,
      readsContents: false,
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
  const carried = [...options.carried].map(([past, present]) => {
    const info = model.graph.inputs.find(({ name }) => name === past);
    const start = info && emptyCache(info);
    invariant(start, `${past} is no cache`);
    return { past: valueNamed(past), present: valueNamed(present), start };
  });
  return {
    program: new Program({ engine, steps, feeds, carried }),
    outputs,
    nodes: graph.nodes.length,
    fallbackNodes: graph.nodes.filter((node) => !prepared.has(node)).length,
  };
}

interface PreparedGraph {
  readonly graph: NodeGraph;
  /** What runs here; the other nodes go to the fallback. */
  readonly prepared: ReadonlyMap<OperatorNode, Prepared>;
}

/**
 * The fallback cuts its segments out of the file, by the names that the file has. So a node that a fusion made must run
 * here: where it cannot, the graph is built again without that fusion, and the memory of the first attempt is lost.
 */
async function prepareGraph(options: BuildOptions): Promise<PreparedGraph> {
  const { model, tiers, precision, onFallback } = options;
  const fusing: FusionOptions = {
    activationType: (bits) => activationTypeFor(bits, tiers, precision === "exact"),
  };
  const without = new Set<string>();
  for (;;) {
    const graph = new NodeGraph(model, usable);
    const makers = await fuse(graph, fusing, without);
    const { prepared, refused } = await prepare(graph, options, makers);
    const unfit = [...refused.keys()].map((node) => makers.get(node)).find(Boolean);
    if (unfit === undefined) {
      for (const [node, reason] of refused) onFallback(node, reason);
      return { graph, prepared };
    }
    without.add(unfit);
  }
}

/** Why a node cannot be computed here, as far as the file tells. */
function refusal(node: OperatorNode, context: SupportContext): string | undefined {
  const operator = operators[operatorKey(node)];
  if (!operator) return "it has no kernel";
  const foreign = node.inputs.map((_, index) => context.dtype(index)).find(isForeign);
  return foreign ? `reads tensors of ${foreign}` : operator.refuses?.(node, context);
}

const isForeign = (dtype: DType | undefined): boolean => dtype !== undefined && !isStored(dtype);

/** The operator of a node that can be computed here, as far as the file tells. */
const usable = (node: OperatorNode, context: SupportContext): Operator | undefined =>
  refusal(node, context) === undefined ? operators[operatorKey(node)] : undefined;

/** Compiles what can run here; ends early when a node that a fusion made cannot. */
async function prepare(
  graph: NodeGraph,
  options: BuildOptions,
  makers: ReadonlyMap<OperatorNode, string>,
): Promise<{
  readonly prepared: ReadonlyMap<OperatorNode, Prepared>;
  readonly refused: ReadonlyMap<OperatorNode, string>;
}> {
  const prepared = new Map<OperatorNode, Prepared>();
  const refused = new Map<OperatorNode, string>();
  for (const node of graph.nodes) {
    const reason = refusal(node, graph.supportContext(node));
    if (reason !== undefined) refused.set(node, reason);
  }
  const isUnfit = (node: OperatorNode) => refused.has(node) && makers.has(node);
  // Before anything is packed: that takes memory and time.
  if (graph.nodes.some(isUnfit)) return { prepared, refused };
  const contextOf = compileContext(graph, options);
  for (const node of graph.nodes) {
    if (refused.has(node)) continue;
    const operator = operators[operatorKey(node)];
    const compiled = await operator.compile?.(node, contextOf(node));
    if (compiled || operator.compute || operator.alias) prepared.set(node, { operator, compiled });
    else refused.set(node, "its attributes have no kernel");
    if (isUnfit(node)) break;
  }
  return { prepared, refused };
}
