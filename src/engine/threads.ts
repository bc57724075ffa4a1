/**
 * What the session needs of threads. `platform/` implements it over worker_threads and Workers.
 */
import type { KernelFunction } from "../../native/index.ts";

export interface ThreadPool {
  /** Threads that run kernels, the caller's own included; falls when threads die. */
  readonly count: number;
  /**
   * Defined after a run in which a thread died, until nothing of that thread can run any more. `run` refuses to work
   * before: the thread might still write into memory that has a new use.
   */
  readonly recovery: Promise<void> | undefined;
  /**
   * Gives every thread the kernels of a module; called once, before the first `run`. A thread that does not start is
   * left out (`onLost`).
   *
   * @param names - of the kernels, in the order that `run` counts them.
   * @param own - the same kernels for the caller.
   */
  load(
    module: WebAssembly.Module,
    names: readonly string[],
    own: readonly KernelFunction[],
  ): Promise<void>;
  /**
   * Runs items 0 … items − 1 of one task, each exactly once, on all threads including the caller, and returns when all
   * are done. It blocks: the caller spins a moment and then sleeps, where it may (a browser's main thread spins on).
   *
   * A thread that died without an item in hand, as idle ones do, costs nothing but its help. One that died in the
   * middle of its items cannot be replaced: a kernel that works in place must not do an item twice. That run throws
   * and its outputs are undefined; it is noticed when nothing was finished for five seconds. After `recovery` the pool
   * goes on with the threads that are left.
   *
   * @param chunk - items that a thread claims at a time, at least 1.
   * @throws kernel - the kernel trapped, on whatever thread; or a thread died in the middle of its items.
   *
   * Cost: 0.2 to 0.6 µs while the threads spin, which they do for 50 µs after each job; 25 to 45 µs to wake them.
   */
  run(kernel: number, task: number, items: number, chunk: number): void;
  /** Ends the threads; `run` must not be called any more. */
  close(): Promise<void>;
}

export interface ThreadPoolOptions {
  /** Shared. It may grow while nothing runs. */
  readonly memory: WebAssembly.Memory;
  /** Threads besides the caller's, fewer than `maximumThreads`. */
  readonly workers: number;
  /** Address, a multiple of 64, of `controlBytes` bytes of the memory that belong to the pool. */
  readonly control: number;
  /** Address of the first thread's scratch memory; thread i has `scratch + i · scratchBytes`. */
  readonly scratch: number;
  readonly scratchBytes: number;
  /** Called once for each thread that did not start or died, with the reason. */
  readonly onLost: (reason: string) => void;
}

/** Bytes that a pool needs for its control block. */
export const controlBytes = 4096;

/** Threads that a control block has room for, the caller's included. */
export const maximumThreads = 56;

/** Never waits for the threads; `load` does. */
export type StartThreads = (options: ThreadPoolOptions) => Promise<ThreadPool>;
