/**
 * Measures what reaches a step, once its values are kept: batch by batch, block of columns by block of columns.
 */
import { throwIfAborted } from "../../core/errors.ts";
import type { FeedTensor } from "../../core/feeds.ts";
import type { Layer } from "../../core/layer.ts";
import { inOrder, openAll, type Runtime } from "../../runtime/index.ts";
import type { GramModel, Stream } from "./gram-model.ts";
import { type GramBlock, type GramResults, GramSums, holdoutEvery } from "./gram-sums.ts";

export interface MeasureOptions {
  readonly gramModel: GramModel;
  /** One of those that are measured. */
  readonly layer: Layer;
  readonly batches: number;
  /** Measures the held-out batches apart. */
  readonly needsHoldout: boolean;
  readonly runtime: Runtime;
  readonly signal: AbortSignal | undefined;
  value(stream: Stream, batch: number, name: string): Promise<FeedTensor>;
}

/**
 * Cost: 4·T·K² operations where the streams differ, half of that where they do not; memory of the sums, and of a
 * block in each worker.
 */
export async function measureGrams(options: MeasureOptions): Promise<GramSums> {
  const { gramModel, layer, batches, needsHoldout, runtime, signal, value } = options;
  const { model, inputs, columns, blockInput, grams } = gramModel;
  const workers = Math.min(runtime.workers, batches);
  const wanted = Array.from({ length: workers }, (_, worker) => ({ model, worker }));
  const sessions = await openAll(runtime, wanted);
  const run = async (batch: number, { first, width }: GramBlock): Promise<GramResults> => {
    const feeds: Record<string, FeedTensor> = {};
    for (const [input, { value: name, stream }] of inputs) {
      feeds[input] = await value(stream, batch, name);
    }
    if (blockInput) {
      const data = BigInt64Array.of(BigInt(first), BigInt(first + width));
      feeds[blockInput] = { dtype: "int64", shape: [2], data };
    }
    const outputs = await sessions[batch % workers].run(feeds);
    return Object.fromEntries(
      Object.entries(grams).map(([key, name]) => [key, name && outputs[name]]),
    );
  };
  const sums = new GramSums(layer, needsHoldout && batches >= holdoutEvery);
  try {
    for (let first = 0; first < layer.k; first += columns) {
      const block = { first, width: Math.min(columns, layer.k - first) };
      await inOrder({
        count: batches,
        ahead: workers,
        start: (batch) => run(batch, block),
        use: (results, batch) => {
          throwIfAborted(signal, "sequential quantization");
          sums.add(results, batch, block);
        },
      });
    }
  } finally {
    await Promise.allSettled(sessions.map((session) => session.release()));
  }
  return sums;
}
