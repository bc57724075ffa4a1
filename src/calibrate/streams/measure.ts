/**
 * Measures what reaches a step, once its values are kept: some batches at a time, block of columns by block of columns.
 */
import { throwIfAborted } from "../../core/errors.ts";
import type { FeedTensor } from "../../core/feeds.ts";
import type { Layer } from "../../core/layer.ts";
import { aheadOf, inOrder, openAll, type Runtime } from "../../runtime/index.ts";
import type { GramModel, Stream } from "./gram-model.ts";
import { type GramBlock, type GramResults, GramSums } from "./gram-sums.ts";
import type { StreamStep } from "./plan.ts";

export interface MeasureOptions {
  /** The model that measures so many batches together. */
  build(batches: number): GramModel;
  /** Batches to measure together, at most. */
  readonly together: number;
  /** One of those that are measured. */
  readonly layer: Layer;
  readonly batches: number;
  /** Measures every third batch apart. */
  readonly needsHoldout: boolean;
  readonly onlyPowers: boolean;
  readonly runtime: Runtime;
  readonly signal: AbortSignal | undefined;
  value(stream: Stream, batch: number, name: string): Promise<FeedTensor>;
}

/** Every third batch judges, the others fit. */
const holdoutEvery = 3;

/** Batches that one run measures. */
interface Part {
  readonly batches: readonly number[];
  readonly isHeldOut: boolean;
}

/**
 * Cost: 4·T·K² operations where the streams differ, half of that where they do not, T·K for powers alone; memory of
 * the sums, and in each worker of a block and of the rows that are measured together.
 */
export async function measureGrams(options: MeasureOptions): Promise<GramSums> {
  const { layer, onlyPowers, runtime, signal, value } = options;
  const parts = partsOf(options);
  const workers = Math.min(runtime.workers, parts.length);
  const models = new Map(
    [...new Set(parts.map(({ batches }) => batches.length))].map((size) => [
      size,
      options.build(size),
    ]),
  );
  const sessions = await openAll(
    runtime,
    [...models.values()].flatMap(({ model }) =>
      Array.from({ length: workers }, (_, worker) => ({ model, worker })),
    ),
  );
  const sizes = [...models.keys()];
  const run = async (at: number, { first, width }: GramBlock): Promise<GramResults> => {
    const { batches } = parts[at];
    const { inputs, blockInput, grams } = models.get(batches.length) as GramModel;
    const feeds: Record<string, FeedTensor> = {};
    for (const [input, { value: name, stream, batch }] of inputs) {
      feeds[input] = await value(stream, batches[batch], name);
    }
    if (blockInput) {
      const data = BigInt64Array.of(BigInt(first), BigInt(first + width));
      feeds[blockInput] = { dtype: "int64", shape: [2], data };
    }
    const session = sessions[sizes.indexOf(batches.length) * workers + (at % workers)];
    const outputs = await session.run(feeds);
    return Object.fromEntries(
      Object.entries(grams).map(([key, name]) => [key, name && outputs[name]]),
    );
  };
  const sums = new GramSums(layer, onlyPowers);
  const { columns } = models.get(sizes[0]) as GramModel;
  try {
    for (let first = 0; first < layer.k; first += columns) {
      const block = { first, width: Math.min(columns, layer.k - first) };
      await inOrder({
        count: parts.length,
        ahead: aheadOf(workers),
        start: (at) => run(at, block),
        use: (results, at) => {
          throwIfAborted(signal, "sequential quantization");
          sums.add(results, parts[at].isHeldOut, block);
        },
      });
    }
  } finally {
    await Promise.allSettled(sessions.map((session) => session.release()));
  }
  return sums;
}

/** Consecutive batches of one kind; how many does not depend on the number of workers, or sums would. */
function partsOf({ batches, together, needsHoldout }: MeasureOptions): readonly Part[] {
  const isSplit = needsHoldout && batches >= holdoutEvery;
  const all = Array.from({ length: batches }, (_, batch) => batch);
  const isHeldOut = (batch: number) => isSplit && batch % holdoutEvery === holdoutEvery - 1;
  return [false, true].flatMap((side) => {
    const own = all.filter((batch) => isHeldOut(batch) === side);
    return Array.from({ length: Math.ceil(own.length / together) }, (_, part) => ({
      batches: own.slice(part * together, (part + 1) * together),
      isHeldOut: side,
    }));
  });
}

/** Products of more rows are no faster. */
const rowsTogether = 2048;

/**
 * Batches whose rows are measured together: a product of many rows takes less time than the sum of several products of
 * few, which would all have to be carried to the main thread and added up there.
 */
export function batchesTogether(
  { activations, layers: [{ k, groups, uses }] }: StreamStep,
  elements: ReadonlyMap<string, number>,
  limitBytes: number,
): number {
  // Unfolded rows are many times what they are made of.
  if (uses.some(({ window }) => window)) return 1;
  // What is fed is not known here, and an expert that no row reaches has nothing.
  const known = activations.map((value) => elements.get(value) ?? Number.POSITIVE_INFINITY);
  const largest = Math.max(1, ...known);
  const byRows = (rowsTogether * groups * k) / largest;
  // Values of both streams and what is between them.
  const byBytes = limitBytes / (2 * 4 * largest);
  return Math.max(1, Math.floor(Math.min(byRows, byBytes)));
}
