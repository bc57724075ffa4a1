/**
 * What the session needs of threads. `platform/` implements it over worker_threads and Workers.
 */
import type { KernelFunction } from "../../../native/index.ts";

export interface ThreadPool {
  /** Threads that run kernels, the caller's own included. */
  readonly count: number;
  /**
   * Gives every thread the kernels of a module: `names` in the order that `run` counts them.
   *
   * @throws kernel - a thread failed to start.
   */
  load(module: WebAssembly.Module, names: readonly string[], own: readonly KernelFunction[]): Promise<void>;
  /**
   * Runs items 0 … items − 1 of one task on all threads and returns when all are done. A thread that died is left out;
   * what it had claimed is done again by the caller, which gives the same bytes because items are independent.
   *
   * @param chunk - items that a thread claims at a time, at least 1.
   */
  run(kernel: number, task: number, items: number, chunk: number): void;
  /** Ends the threads; `run` must not be called any more. */
  close(): Promise<void>;
}

export interface ThreadPoolOptions {
  readonly memory: WebAssembly.Memory;
  /** Threads besides the caller's. */
  readonly workers: number;
  /** Address of `controlBytes` bytes of the memory that belong to the pool. */
  readonly control: number;
  /** Address of the first thread's scratch memory; thread i has `scratch + i · scratchBytes`. */
  readonly scratch: number;
  readonly scratchBytes: number;
  /** Called once when a thread died, with the reason. */
  readonly onLost: (reason: string) => void;
}

/** Bytes that a pool needs for its control block. */
export const controlBytes = 4096;

export type StartThreads = (options: ThreadPoolOptions) => Promise<ThreadPool>;
