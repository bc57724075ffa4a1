/**
 * What the two threads agree on.
 */

/** Words at the start of the shared memory. */
export const control = {
  /** Counts the calls given to the worker, and those it has done; then the number of the call. */
  turn: 0,
  done: 1,
  call: 2,
  words: 16,
  spins: 20_000,
} as const;

export interface PreparedCall {
  readonly name: string;
  readonly task: number;
  readonly items: number;
}

export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly calls: readonly PreparedCall[];
  readonly scratch: number;
}
