/**
 * In which order the layers of a graph are rounded, and what has to run before each: the graph is cut into steps, each
 * of which runs the nodes that nobody has run yet, so that a walk over all layers runs every node once.
 * Pure: looks at the graph only.
 */
import type { Layer } from "../../core/layer.ts";
import { constantValues, type Graph, type Model, type Node, readBy } from "../../onnx/index.ts";
import { activationKey, products } from "../statistic.ts";
import { readersOf, residualOf } from "./residual.ts";

/** One stop of the walk: run, measure, round. */
export interface StreamStep {
  /** Rounded after this step; they read the same activations. */
  readonly layers: readonly Layer[];
  /**
   * What they read. Empty when nothing can be measured before they are rounded: tables that are only gathered from,
   * and weights that are used again behind layers which come later (tied output heads).
   */
  readonly activations: readonly string[];
  /**
   * What the output of the step's only layer is added to, where that is known by then in both streams and differs
   * between them.
   */
  readonly residual: string | undefined;
  /** Nodes to run, in order. */
  readonly nodes: readonly Node[];
  /** Values of earlier steps that they read. */
  readonly inputs: readonly string[];
  /** Values that they compute and that later steps, or the measurement, read. */
  readonly outputs: readonly string[];
  /** Kept values that nobody reads after this step. */
  readonly finished: readonly string[];
}

export interface StreamPlan {
  readonly steps: readonly StreamStep[];
  /** Values that depend on a weight that is rounded: only these differ between the streams. */
  readonly drifting: ReadonlySet<string>;
}

/**
 * @param layers - of `findLayers`; those that are to be rounded.
 *
 * Cost: O(nodes · groups) at worst, O(nodes) for chains of blocks.
 */
export function planStreams(model: Model, layers: readonly Layer[]): StreamPlan {
  const { graph } = model;
  const position = new Map(graph.nodes.map((node, index) => [node.name, index]));
  const firstUse = (layer: Layer) =>
    Math.min(...layer.uses.map(({ node }) => position.get(node) ?? 0));
  const constant = constantValues(graph);
  const groups = groupLayers(model, layers, firstUse);
  const wanted = groups.flatMap(({ activations }) => activations);
  const needed = ancestors(graph, wanted, constant);
  const readers = readersOf(needed);
  const everyReader = readersOf(graph.nodes);
  const drifting = driftingValues(graph, layers);
  const residuals = groups.map(({ layers: [layer, ...others], activations }) => {
    if (others.length > 0 || activations.length === 0 || !hasNegativeAxes(model)) return undefined;
    const value = residualOf(graph, layer, everyReader, constant);
    return value !== undefined && drifting.has(value) ? value : undefined;
  });
  const done = new Set<Node>();
  const kept = new Set<string>();
  const steps = groups.map(({ layers, activations }, index): StreamStep => {
    const run = [...ancestors(graph, activations, constant, done)].sort(
      (a, b) => (position.get(a.name) ?? 0) - (position.get(b.name) ?? 0),
    );
    for (const node of run) done.add(node);
    const made = new Set(run.flatMap(({ outputs }) => outputs.filter(Boolean)));
    const inputs = new Set(run.flatMap(readBy).filter((value) => kept.has(value)));
    for (const value of activations) if (kept.has(value)) inputs.add(value);
    const isRead = (value: string) =>
      (readers.get(value) ?? []).some((node) => !done.has(node)) ||
      residuals.indexOf(value, index + 1) >= 0;
    const added = residuals[index];
    const outputs = [...made].filter(
      (value) => isRead(value) || activations.includes(value) || value === added,
    );
    for (const value of outputs) kept.add(value);
    const residual = added !== undefined && kept.has(added) ? added : undefined;
    const finished = [...kept].filter((value) => !isRead(value));
    for (const value of finished) kept.delete(value);
    return { layers, activations, residual, nodes: run, inputs: [...inputs], outputs, finished };
  });
  return { steps, drifting };
}

/** The operators that measure a residual count axes from the last one; older opsets do without it. */
const hasNegativeAxes = ({ opsets }: Model) => (opsets.get("") ?? 1) >= 11;

interface Group {
  readonly layers: Layer[];
  readonly activations: readonly string[];
}

/** Layers that read the same activations the same way, in the order of their first use. */
function groupLayers(
  model: Model,
  layers: readonly Layer[],
  firstUse: (layer: Layer) => number,
): Group[] {
  const { graph } = model;
  const owners = new Map(layers.flatMap((layer) => layer.uses.map(({ node }) => [node, layer])));
  const groups = new Map<string, Group>();
  for (const layer of [...layers].sort((a, b) => firstUse(a) - firstUse(b))) {
    const isAhead = (node: Node) => {
      const owner = owners.get(node.name);
      return owner !== undefined && firstUse(owner) >= firstUse(layer);
    };
    const uses = products(layer);
    const activations = [...new Set(uses.map(({ activation }) => activation))];
    // A weight with one use is rounded when its input is there; one with several may be used before that.
    const waits =
      layer.uses.length > 1 && [...ancestors(graph, activations, new Set())].some(isAhead);
    const isMeasured = uses.length > 0 && !waits;
    const key = isMeasured
      ? uses.map((use) => activationKey(model, use)).join("\n")
      : `alone ${layer.id}`;
    const group = groups.get(key);
    if (group) group.layers.push(layer);
    else groups.set(key, { layers: [layer], activations: isMeasured ? activations : [] });
  }
  return [...groups.values()];
}

/** The nodes behind values, without those that are done and those that compute constants. */
function ancestors(
  graph: Graph,
  values: readonly string[],
  constant: ReadonlySet<string>,
  done: ReadonlySet<Node> = new Set(),
): Set<Node> {
  const found = new Set<Node>();
  const pending = [...values];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    const node = constant.has(value) ? undefined : graph.producer(value);
    if (!node || found.has(node) || done.has(node)) continue;
    found.add(node);
    pending.push(...readBy(node));
  }
  return found;
}

function driftingValues(graph: Graph, layers: readonly Layer[]): Set<string> {
  const drifting = new Set(layers.map(({ weight }) => weight));
  for (const node of graph.nodes) {
    if (readBy(node).some((value) => drifting.has(value))) {
      for (const value of node.outputs) drifting.add(value);
    }
  }
  return drifting;
}

/** Layers that multiply, but whose input cannot be measured before they are rounded. */
export const unmeasured = (model: Model, layers: readonly Layer[]): readonly Layer[] =>
  planStreams(model, layers).steps.flatMap(({ layers, activations }) =>
    activations.length === 0 ? layers.filter((layer) => products(layer).length > 0) : [],
  );
