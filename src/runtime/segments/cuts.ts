/**
 * Where a graph is cut so that the weights of each segment fit a limit. Pure: looks at the graph only.
 * Invariant: a value's segment is never before that of a value it is computed from.
 */
import { elementCount } from "../../core/tensor.ts";
import { constantValues, type Graph, type Node, readBy, storedConstant } from "../../onnx/index.ts";

export interface Cuts {
  /** At least 1. */
  readonly count: number;
  /** Bytes of the weights that each segment reads, as float32. */
  readonly bytes: readonly number[];
  /** By value, for what nodes compute from the graph's inputs. */
  readonly segmentOf: ReadonlyMap<string, number>;
}

/**
 * Cuts where the fewest values cross, in the second half of what fits: in transformers between blocks, where only the
 * residual stream, positions and masks cross. A node whose own weights exceed the limit gets a segment of its own.
 *
 * A graph with values that cannot be carried from one session to the next (sequences, strings, bfloat16) is one segment.
 *
 * Cost: O(nodes); no tensor is read.
 */
export function planCuts(graph: Graph, limitBytes: number): Cuts {
  const constant = constantValues(graph);
  const nodes = graph.nodes.filter(({ outputs }) => !outputs.every((value) => constant.has(value)));
  const weights = weightsOf(graph, nodes, constant);
  const crossing = crossings(nodes, constant);
  const limit = canBeCut(graph) ? limitBytes : Number.POSITIVE_INFINITY;
  const segmentOf = new Map<string, number>();
  const bytes: number[] = [];
  for (let begin = 0; begin < nodes.length; ) {
    const { end, half } = reach(weights, begin, limit);
    let cut = end;
    if (end < nodes.length) {
      for (let i = end - 1; i >= half; i--) if (crossing[i] < crossing[cut]) cut = i;
    }
    for (const { outputs } of nodes.slice(begin, cut)) {
      for (const value of outputs) segmentOf.set(value, bytes.length);
    }
    bytes.push(sumOf(weights.slice(begin, cut)));
    begin = cut;
  }
  return { count: Math.max(1, bytes.length), bytes: bytes.length > 0 ? bytes : [0], segmentOf };
}

/** Bytes by name of the weights that a node reads. */
type Weights = ReadonlyMap<string, number>;

/** How far a segment may go, at least one node, and from where on it holds half of the limit. */
function reach(
  weights: readonly Weights[],
  begin: number,
  limit: number,
): { readonly end: number; readonly half: number } {
  const held = new Set<string>();
  let total = 0;
  let half: number | undefined;
  for (let i = begin; i < weights.length; i++) {
    for (const [name, bytes] of weights[i]) {
      if (!held.has(name)) total += bytes;
      held.add(name);
    }
    if (total > limit && i > begin) return { end: i, half: half ?? begin + 1 };
    if (total >= limit / 2) half ??= i + 1;
  }
  return { end: weights.length, half: weights.length };
}

function sumOf(weights: readonly Weights[]): number {
  const all = new Map(weights.flatMap((own) => [...own]));
  return [...all.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The initializers behind each node's constant inputs. */
function weightsOf(
  graph: Graph,
  nodes: readonly Node[],
  constant: ReadonlySet<string>,
): readonly Weights[] {
  const known = new Map<string, Weights>();
  const behind = (value: string): Weights => {
    if (!constant.has(value)) return new Map();
    const found = known.get(value);
    if (found) return found;
    const stored = storedConstant(graph, value);
    const own: Weights = stored
      ? new Map([[value, 4 * elementCount(stored.shape)]])
      : new Map(readBy(graph.producer(value) as Node).flatMap((input) => [...behind(input)]));
    known.set(value, own);
    return own;
  };
  return nodes.map((node) => new Map(readBy(node).flatMap((value) => [...behind(value)])));
}

/** For each node, how many values made before it are read by it or after it. */
function crossings(nodes: readonly Node[], constant: ReadonlySet<string>): readonly number[] {
  const lastRead = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const value of readBy(node)) if (!constant.has(value)) lastRead.set(value, i);
  });
  const steps = new Array<number>(nodes.length + 1).fill(0);
  nodes.forEach(({ outputs }, i) => {
    for (const value of outputs) {
      const last = lastRead.get(value) ?? i;
      steps[i + 1]++;
      steps[last + 1]--;
    }
  });
  let count = 0;
  return steps.map((step) => {
    count += step;
    return count;
  });
}

/** Operators whose values may be no tensors, or hold text. */
const makesNoTensors = /Sequence|Optional|String|ZipMap|Vectorizer|Tokenizer/;

function canBeCut(graph: Graph): boolean {
  const infos = [...graph.inputs, ...graph.outputs];
  const hasBfloat16 =
    infos.some(({ dtype }) => dtype === "bfloat16") ||
    [...graph.initializers.values()].some(({ dtype }) => dtype === "bfloat16");
  return !hasBfloat16 && !graph.nodes.some(({ opType }) => makesNoTensors.test(opType));
}
