/**
 * The caller's side of the threads, the same for Node and browsers: publishes jobs, takes part in them, waits for the
 * others, and notices threads that died. Not here: how a thread is started.
 * Invariant: when `run` returns or throws, no thread that is still in the pool holds a chunk.
 */
import type { KernelFunction } from "../../../native/index.ts";
import { BitloomError, invariant } from "../../core/errors.ts";
import type { StartThreads, ThreadPool, ThreadPoolOptions } from "../threads.ts";
import {
  cancel,
  claim,
  controlOf,
  fail,
  failure,
  maximumThreads,
  perform,
  spin,
  states,
  stateWord,
  type ThreadStart,
  words,
} from "./thread-protocol.js";

/** A thread that was started; it runs `serve` of the protocol when it gets its message. */
export interface Thread {
  /** Resolves when the thread waits for work; never if it ends before. */
  start(message: ThreadStart): Promise<void>;
  /** Resolves with the reason when the thread has ended or failed. */
  readonly ended: Promise<string>;
  /** Ends it from outside; resolves when it runs no more. */
  end(): Promise<void>;
}

/** Longest sleep of the caller; a clock that jumps counts for no more. */
const sliceMs = 50;
/** A thread that is only slow, or preempted by as many others, is not given up. */
const patienceFactor = 20;

const isZero = (value: number) => value === 0;

/**
 * @param spawn - starts one thread; what it throws is the reason why there is none.
 * @param patienceMs - a thread that holds a chunk is given up when nothing was finished for this long, and for twenty
 *   times as long as the caller's own share of the job took.
 */
export function createStartThreads(spawn: () => Thread, patienceMs = 5000): StartThreads {
  return async (options) => new Pool(options, spawn, patienceMs);
}

class Pool implements ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #patienceMs: number;
  readonly #control: Int32Array;
  /** A browser's main thread must not sleep; it spins instead. */
  readonly #maySleep: boolean;
  readonly #threads = new Map<number, Thread>();
  #names: readonly string[] = [];
  #own: readonly KernelFunction[] = [];
  #recovery: Promise<void> | undefined;

  constructor(options: ThreadPoolOptions, spawn: () => Thread, patienceMs: number) {
    const { memory, control, workers } = options;
    invariant(workers < maximumThreads, `${workers} workers, more than the control block holds`);
    this.#options = options;
    this.#patienceMs = patienceMs;
    this.#control = controlOf(memory, control).fill(0);
    this.#maySleep = maySleep(this.#control);
    for (let number = 1; number <= workers; number++) {
      try {
        const thread = spawn();
        this.#threads.set(number, thread);
        void thread.ended.then((reason) => this.#lose(number, reason));
      } catch (error) {
        options.onLost(reasonOf(error));
      }
    }
  }

  get count(): number {
    return 1 + this.#threads.size;
  }

  get recovery(): Promise<void> | undefined {
    return this.#recovery;
  }

  async load(
    module: WebAssembly.Module,
    names: readonly string[],
    own: readonly KernelFunction[],
  ): Promise<void> {
    this.#names = names;
    this.#own = own;
    const { memory, control, scratch, scratchBytes } = this.#options;
    const starting = [...this.#threads].map(async ([number, thread]) => {
      const start = { memory, module, names, control, thread: number };
      try {
        const own = { ...start, scratch: scratch + number * scratchBytes };
        await Promise.race([thread.start(own), thread.ended]);
      } catch (error) {
        this.#lose(number, reasonOf(error));
        await thread.end();
      }
    });
    await Promise.all(starting);
  }

  run(kernel: number, task: number, items: number, chunk: number): void {
    if (this.#recovery) throw notRecovered(this.#names[kernel]);
    const chunks = Math.ceil(items / chunk);
    const { scratch } = this.#options;
    if (chunks < 2 || this.#threads.size === 0) {
      try {
        if (items > 0) this.#own[kernel](task, 0, items, scratch);
      } catch (error) {
        throw trapped(this.#names[kernel], 0, reasonOf(error));
      }
      return;
    }
    const started = performance.now();
    this.#publish(kernel, task, items, chunk, chunks);
    this.#takePart(chunks);
    this.#join(kernel, started);
    const control = this.#control;
    if (control[words.failed] !== 0) {
      throw trapped(this.#names[kernel], control[words.failed] - 1, failure(control));
    }
  }

  async close(): Promise<void> {
    const threads = [...this.#threads.values()];
    this.#threads.clear();
    await Promise.all([this.#recovery, ...threads.map((thread) => thread.end())]);
  }

  #publish(kernel: number, task: number, items: number, chunk: number, chunks: number): void {
    const control = this.#control;
    control[words.kernel] = kernel;
    control[words.task] = task;
    control[words.items] = items;
    control[words.chunk] = chunk;
    control[words.chunks] = chunks;
    control[words.failed] = 0;
    // The caller keeps the first chunk: its time tells how long the others may take.
    Atomics.store(control, words.pending, chunks - 1);
    Atomics.store(control, words.next, chunks - 1);
    let asleep = 0;
    for (const number of this.#threads.keys()) {
      if (Atomics.load(control, stateWord(number)) === states.asleep) asleep++;
    }
    if (asleep > 0) Atomics.notify(control, words.next, Math.min(asleep, chunks - 1));
  }

  #takePart(chunks: number): void {
    const control = this.#control;
    let done = 0;
    try {
      perform(control, chunks, this.#own, this.#options.scratch);
      for (let left = claim(control); left > 0; left = claim(control)) {
        done++;
        perform(control, left, this.#own, this.#options.scratch);
      }
    } catch (error) {
      fail(control, 0, error);
      cancel(control);
    }
    Atomics.sub(control, words.pending, done);
  }

  #join(kernel: number, started: number): void {
    const control = this.#control;
    if (spin(control, words.pending, isZero)) return;
    let last = performance.now();
    const patienceMs = Math.max(this.#patienceMs, patienceFactor * (last - started));
    let quietMs = 0;
    let pending = Atomics.load(control, words.pending);
    Atomics.store(control, words.joining, 1);
    while (pending !== 0) {
      if (this.#maySleep) Atomics.wait(control, words.pending, pending, sliceMs);
      const seen = Atomics.load(control, words.pending);
      const now = performance.now();
      quietMs = seen === pending ? quietMs + Math.min(now - last, sliceMs) : 0;
      pending = seen;
      last = now;
      if (quietMs > patienceMs) throw this.#abandon(this.#names[kernel]);
    }
    Atomics.store(control, words.joining, 0);
  }

  /** Puts the threads that hold a chunk out of the pool; whatever they do is over when `recovery` resolves. */
  #abandon(kernel: string): BitloomError<"kernel"> {
    const control = this.#control;
    cancel(control);
    Atomics.store(control, words.joining, 0);
    const stuck = [...this.#threads].filter(
      ([number]) => Atomics.load(control, stateWord(number)) === states.busy,
    );
    const ending = stuck.map(([number, thread]) => {
      this.#lose(number, `it stopped in the middle of kernel "${kernel}"`);
      return thread.end();
    });
    this.#recovery = Promise.all(ending).then(() => {
      this.#recovery = undefined;
    });
    return new BitloomError(
      "kernel",
      `A thread died in the middle of kernel "${kernel}", so this run has no result. Run again: the session goes on with ${this.count} of ${1 + this.#options.workers} threads.`,
      { kernel },
    );
  }

  #lose(number: number, reason: string): void {
    if (this.#threads.delete(number)) this.#options.onLost(reason);
  }
}

/** Whether this thread may call Atomics.wait: asked with a value that the word does not have, so it never sleeps. */
function maySleep(control: Int32Array): boolean {
  try {
    return Atomics.wait(control, words.next, control[words.next] + 1, 0) === "not-equal";
  } catch {
    return false;
  }
}

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

function trapped(kernel: string, thread: number, reason: string): BitloomError<"kernel"> {
  return new BitloomError(
    "kernel",
    `Kernel "${kernel}" failed on thread ${thread}: ${reason}. This is a bug in bitloom; please report it with the model. This run has no result.`,
    { kernel },
  );
}

function notRecovered(kernel: string): BitloomError<"kernel"> {
  return new BitloomError(
    "kernel",
    `Kernel "${kernel}" cannot run: a thread that died in an earlier run is still being ended. Await the pool's recovery first.`,
    { kernel },
  );
}
