/**
 * What a session needs of the environment that it runs in. `node.ts` and `browser.ts` implement it.
 */
import type { StartThreads } from "../threads.ts";

export interface Platform {
  /** Undefined where threads cannot share memory. */
  readonly startThreads: StartThreads | undefined;
  /** Why `startThreads` is undefined, as a sentence with what to do; undefined when it is there. */
  readonly noThreadsReason: string | undefined;
  /** Threads of a session that does not say how many, 1 to 4. */
  readonly defaultThreads: number;
}

/**
 * Threads that pay: one for each physical core, up to 4, because decoding is bound by memory beyond that. Environments
 * tell logical processors only: mostly two to a core, but on machines of two or three more often whole cores.
 *
 * @param processors - logical processors, at least 1.
 */
export const threadsFor = (processors: number): number =>
  Math.min(4, Math.max(Math.min(2, processors), Math.floor(processors / 2)));
