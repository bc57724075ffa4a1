/**
 * What stages need of a runtime: open a model, run feeds. `ort.ts` implements it.
 */
import type { Feeds } from "../core/feeds.ts";
import type { Model } from "../onnx/index.ts";

/** One model, ready to run. */
export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs the graph; `fetch` names the outputs to return, all by default. */
  run(feeds: Feeds, fetch?: readonly string[]): Promise<Feeds>;
  /** Frees the memory; the session cannot run any more. */
  release(): Promise<void>;
}

/** How a runtime opens one model. */
export interface SessionOptions {
  /** Graph optimisations; "none" keeps every node as written. Default "all". */
  readonly optimize?: "all" | "none";
  /** Which worker runs it, 0 .. workers − 1; default the next in turn. */
  readonly worker?: number;
  /** Threads for each operator; default 1. Of narrow products the last bits may depend on it. */
  readonly threads?: number;
}

/** One run of a chain. */
export interface ChainedRun {
  readonly session: Session;
  readonly feeds: Feeds;
  /** Outputs to return. */
  readonly fetch: readonly string[];
  /** By input: an output of an earlier run of the chain, which needs not leave the worker. */
  readonly links: ReadonlyMap<string, { readonly run: number; readonly output: string }>;
}

/** Opens sessions, on several threads. */
export interface Runtime {
  readonly workers: number;
  /** Opens a model on one of the threads. */
  open(model: Model, options?: SessionOptions): Promise<Session>;
  /** Ends the workers after the runs under way; sessions that are still open are gone. */
  close(): Promise<void>;
}

/** A runtime whose sessions live in worker threads. */
export interface WorkerRuntime extends Runtime {
  /** Runs sessions of one worker after each other; values that only links name never leave it. Results in order. */
  runChain(runs: readonly ChainedRun[]): Promise<readonly Feeds[]>;
}
