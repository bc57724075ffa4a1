/**
 * Runs a model over a data set on all workers at once and hands the results over in batch order.
 */
import { throwIfAborted } from "../core/errors.ts";
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";
import type { Runtime } from "./runtime.ts";

/** A data set as far as running it matters. */
export interface BatchSource {
  readonly batches: number;
  batch(index: number): Promise<{ readonly feeds: Feeds }>;
}

export interface RunBatches {
  readonly runtime: Runtime;
  readonly model: Model;
  readonly dataset: BatchSource;
  readonly fetch: readonly string[];
  readonly signal: AbortSignal | undefined;
  onBatch(results: Feeds, done: number, total: number): void;
}

/** One session per worker; worker w runs batches w, w + workers, … so at most that many results wait. */
export async function runBatches(options: RunBatches): Promise<void> {
  const { runtime, model, dataset, fetch, signal, onBatch } = options;
  const count = Math.min(runtime.workers, dataset.batches);
  const sessions = await Promise.all(
    Array.from({ length: count }, (_, worker) => runtime.open(model, { worker })),
  );
  try {
    const start = async (i: number) =>
      sessions[i % count].run((await dataset.batch(i)).feeds, fetch);
    const running = Array.from({ length: count }, (_, i) => start(i));
    for (let i = 0; i < dataset.batches; i++) {
      throwIfAborted(signal, "a forward pass");
      const results = await running[i % count];
      if (i + count < dataset.batches) running[i % count] = start(i + count);
      onBatch(results, i + 1, dataset.batches);
    }
  } finally {
    await Promise.allSettled(sessions.map((session) => session.release()));
  }
}
