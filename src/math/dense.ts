/**
 * The dense kernels of `native/dense`, ready to run in one memory. Not here: what they are used for.
 * Invariant: every kernel has one task, which is set and run at once, so calls from interleaved promises do not mix.
 */
import {
  fitGridRows,
  multiply,
  roundStrips,
  solveTransposed,
  solveUpper,
  symmetricUpdate,
  transposePanels,
} from "../../native/index.ts";
import { Engine } from "../engine/engine.ts";
import type { Task } from "../engine/task.ts";
import type { StartThreads } from "../engine/threads.ts";

const kernels = {
  multiply,
  symmetricUpdate,
  solveTransposed,
  solveUpper,
  transposePanels,
  fitGridRows,
  roundStrips,
};
type Kernels = typeof kernels;
type Tasks = { readonly [Name in keyof Kernels]: Task<Kernels[Name]["fields"]> };

export interface DenseOptions {
  /** Threads in all, by default 1. */
  readonly threads?: number | undefined;
  /** How threads start, for example `nodePlatform.startThreads`; without it there is one thread. */
  readonly startThreads?: StartThreads | undefined;
  /** Called once for each thread that did not start or died; the results do not change. */
  readonly onThreadLost?: ((reason: string) => void) | undefined;
}

/** Memory, kernels and threads. */
export interface Dense {
  readonly engine: Engine;
  readonly run: Tasks;
  /** The memory as float64, from an address on; valid until the next `take`. */
  floats(address: number, length: number): Float64Array;
}

export async function openDense(options: DenseOptions): Promise<Dense> {
  const engine = new Engine({
    threads: options.threads ?? 1,
    startThreads: options.startThreads,
    label: "linear algebra",
    onThreadLost: (reason) => options.onThreadLost?.(reason),
  });
  const run = Object.fromEntries(
    Object.entries(kernels).map(([name, kernel]) => [name, engine.task(kernel as never)]),
  ) as unknown as Tasks;
  await engine.seal();
  return {
    engine,
    run,
    floats: (address, length) => new Float64Array(engine.buffer, address, length),
  };
}

/** Runs `work` with memory that is given back afterwards, whatever happens. */
export async function withMemory<R>(
  { engine }: Dense,
  bytes: readonly number[],
  work: (...addresses: number[]) => Promise<R> | R,
): Promise<R> {
  const addresses: number[] = [];
  try {
    for (const size of bytes) addresses.push(engine.take(size));
    return await work(...addresses);
  } finally {
    for (const address of addresses) engine.give(address);
  }
}
