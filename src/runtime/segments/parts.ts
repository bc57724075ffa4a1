/**
 * One model in segments: which of its values each computes, takes and keeps. The cuts are those of the float model, so
 * that every model derived from it (with taps, with packed weights) is cut at the same values.
 */
import type { FeedTensor } from "../../core/feeds.ts";
import {
  constantValues,
  extractSubgraph,
  type Model,
  type Node,
  partInput,
  readBy,
} from "../../onnx/index.ts";
import type { Cuts } from "./cuts.ts";

/** What a model does in one segment. */
export interface Part {
  /** Values of earlier segments and graph inputs that it takes. */
  readonly inputs: readonly string[];
  /** Values that later segments read. */
  readonly kept: readonly string[];
  /** Values that the caller wants. */
  readonly results: readonly string[];
  /** Values kept so far that nobody reads after this segment. */
  readonly finished: readonly string[];
}

/**
 * @param fetch - values that the caller wants: outputs of the graph or inner values.
 * @param segments - of its values, see `segmentsOf`.
 * @param heldUntil - by wanted value: the last segment in which others read it, if that is after its own.
 * @returns one part per segment; parts without kept values and results have nothing to run.
 *
 * Cost: O(nodes).
 */
export function splitModel(
  model: Model,
  count: number,
  segments: ReadonlyMap<string, number>,
  fetch: readonly string[],
  heldUntil: ReadonlyMap<string, number>,
): readonly Part[] {
  const { graph } = model;
  const needed = neededNodes(model, fetch);
  const isInput = new Set(graph.inputs.map(({ name }) => name));
  const lastRead = new Map(heldUntil);
  const read = Array.from({ length: count }, () => new Set<string>());
  for (const node of needed) {
    const segment = segmentOfNode(node, segments);
    for (const value of readBy(node)) {
      if (!segments.has(value) && !isInput.has(value)) continue;
      read[segment].add(value);
      lastRead.set(value, Math.max(segment, lastRead.get(value) ?? 0));
    }
  }
  const made = Array.from({ length: count }, () => new Set<string>());
  for (const node of needed) {
    for (const value of node.outputs) if (value) made[segments.get(value) ?? 0].add(value);
  }
  const wanted = new Set(fetch);
  return read.map((values, segment): Part => {
    const own = made[segment];
    const isLater = (value: string) => (lastRead.get(value) ?? 0) > segment;
    // A wanted constant is computed at once.
    const constants = segment === 0 ? fetch.filter((value) => !segments.has(value)) : [];
    const results = [...[...own].filter((value) => wanted.has(value)), ...constants];
    return {
      inputs: [...values].filter((value) => !own.has(value)),
      kept: [...own].filter((value) => segments.has(value) && isLater(value)),
      results: [...new Set(results)],
      finished: [...lastRead].flatMap(([value, last]) =>
        last === segment && (segments.get(value) ?? segment) < segment ? [value] : [],
      ),
    };
  });
}

/**
 * The model that one part runs.
 *
 * @param types - element types and ranks of kept values.
 */
export function buildPart(
  model: Model,
  { inputs, kept, results }: Part,
  types: ReadonlyMap<string, Pick<FeedTensor, "dtype" | "shape">>,
): Model {
  const outputs = [...new Set([...kept, ...results])];
  const declared = new Map(model.graph.outputs.map((info) => [info.name, info]));
  const given = inputs.filter((name) => !model.graph.inputs.some((info) => info.name === name));
  return extractSubgraph(model, {
    inputs: given.map((name) => partInput(name, types.get(name))),
    outputs: outputs.map(
      (name) => declared.get(name) ?? { name, dtype: undefined, shape: undefined },
    ),
  });
}

/**
 * Segments of the values that depend on inputs: those the cuts name, and as early as possible for all others.
 *
 * @param inputs - segments in which inputs get their values; the first for those that are not named.
 */
export function segmentsOf(
  model: Model,
  cuts: Cuts,
  inputs: ReadonlyMap<string, number> = new Map(),
): ReadonlyMap<string, number> {
  const constant = constantValues(model.graph);
  const segments = new Map<string, number>();
  for (const node of model.graph.nodes) {
    const own = node.outputs.filter((value) => value !== "" && !constant.has(value));
    if (own.length === 0) continue;
    const from = readBy(node).map((value) => segments.get(value) ?? inputs.get(value) ?? 0);
    const known = own.map((value) => cuts.segmentOf.get(value) ?? 0);
    const segment = Math.max(0, ...from, ...known);
    for (const value of own) segments.set(value, segment);
  }
  return segments;
}

const segmentOfNode = ({ outputs }: Node, segments: ReadonlyMap<string, number>): number =>
  Math.max(0, ...outputs.map((value) => segments.get(value) ?? 0));

/** The nodes behind the wanted values, those that compute constants left out. */
function neededNodes({ graph }: Model, fetch: readonly string[]): Set<Node> {
  const constant = constantValues(graph);
  const needed = new Set<Node>();
  const pending = [...fetch];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    const node = constant.has(value) ? undefined : graph.producer(value);
    if (!node || needed.has(node)) continue;
    needed.add(node);
    pending.push(...readBy(node));
  }
  return needed;
}
