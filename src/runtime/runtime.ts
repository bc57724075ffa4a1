/**
 * What stages need of a runtime: open a model, run feeds. `ort.ts` implements it.
 */
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";

export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs the graph; `fetch` names the outputs to return, all by default. */
  run(feeds: Feeds, fetch?: readonly string[]): Promise<Feeds>;
  release(): Promise<void>;
}

export interface SessionOptions {
  /** Graph optimisations; "none" keeps every node as written. Default "all". */
  readonly optimize?: "all" | "none";
  /** Which worker runs it, 0 .. workers − 1; default the next in turn. */
  readonly worker?: number;
}

export interface Runtime {
  readonly workers: number;
  open(model: Model, options?: SessionOptions): Promise<Session>;
  /** Ends the workers after the runs under way; sessions that are still open are gone. */
  close(): Promise<void>;
}
