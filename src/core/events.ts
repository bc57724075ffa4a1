/**
 * What long functions tell their caller while they work. The library never prints: it emits events.
 */
import type { RunNeeds } from "./needs.ts";

/** Something that changed the result without stopping it; also an entry of the report. */
export interface Notice {
  readonly code: string; // kebab-case, e.g. "damping-raised"
  readonly message: string;
  readonly layer?: string;
}

/** What a long function tells while it works. */
export type Event =
  | { readonly type: "stage"; readonly stage: string }
  | {
      readonly type: "progress";
      readonly stage: string;
      readonly done: number;
      readonly total: number;
      readonly label?: string;
    }
  | { readonly type: "notice"; readonly notice: Notice }
  /** Once, before the work of a whole run begins. */
  | { readonly type: "needs"; readonly needs: RunNeeds }
  | {
      readonly type: "layer";
      readonly layer: string;
      readonly format: string;
      readonly loss: number;
      readonly sqnrDb: number;
      readonly elapsedMs: number;
    };

/** The two options that every long function takes. */
export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with progress and notices. */
  readonly onEvent?: ((event: Event) => void) | undefined;
}

/** Lets timers, signals and I/O run; called between pieces of long synchronous work. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
