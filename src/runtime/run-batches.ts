/**
 * Runs a model over a data set on all workers at once and hands the results over in batch order.
 */
import { throwIfAborted } from "../core/errors.ts";
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";
import { openAll } from "./open-all.ts";
import type { Runtime } from "./runtime.ts";

/** A data set as far as running it matters. */
export interface BatchSource<B = { readonly feeds: Feeds }> {
  readonly batches: number;
  batch(index: number): Promise<B>;
}

export interface RunBatches {
  readonly runtime: Runtime;
  readonly model: Model;
  readonly dataset: BatchSource;
  readonly fetch: readonly string[];
  readonly signal: AbortSignal | undefined;
  onBatch(results: Feeds, done: number, total: number): void;
}

/**
 * One session per worker; worker w runs batches w, w + workers, … so at most that many results wait.
 *
 * @throws aborted - between batches; what a session, the data set or `onBatch` throws.
 */
export async function runBatches(options: RunBatches): Promise<void> {
  const { runtime, model, dataset, fetch, signal, onBatch } = options;
  const count = Math.min(runtime.workers, dataset.batches);
  const workers = Array.from({ length: count }, (_, worker) => ({ model, worker }));
  const sessions = await openAll(runtime, workers);
  try {
    await inOrder({
      count: dataset.batches,
      ahead: count,
      start: async (i) => sessions[i % count].run((await dataset.batch(i)).feeds, fetch),
      use(results, i) {
        throwIfAborted(signal, "a forward pass");
        onBatch(results, i + 1, dataset.batches);
      },
    });
  } finally {
    await Promise.allSettled(sessions.map((session) => session.release()));
  }
}

export interface InOrder<T> {
  readonly count: number;
  /** Tasks under way at once. */
  readonly ahead: number;
  start(index: number): Promise<T>;
  /** Called in index order, whatever finishes first. */
  use(result: T, index: number): void;
}

/** Tasks under way that keep so many workers busy: while one runs, values of the next are read or those of the last kept. */
export const aheadOf = (workers: number): number => 2 * workers;

/**
 * Runs tasks ahead of their use. The first failure in index order is thrown, when all that is under way has ended, so
 * that nothing works on what the caller then closes; later failures are dropped with it.
 */
export async function inOrder<T>({ count, ahead, start, use }: InOrder<T>): Promise<void> {
  const begin = (i: number) => {
    const task = start(i);
    // Nobody awaits it any more when an earlier one fails, which must not end the process.
    task.catch(() => {});
    return task;
  };
  const running = Array.from({ length: Math.min(ahead, count) }, (_, i) => begin(i));
  try {
    for (let i = 0; i < count; i++) {
      const result = await running[i % ahead];
      if (i + ahead < count) running[i % ahead] = begin(i + ahead);
      use(result, i);
    }
  } finally {
    await Promise.allSettled(running);
  }
}
