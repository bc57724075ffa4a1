/**
 * Data sets: samples that can be fed to one graph, in batches, and how token streams are cut into windows.
 * Invariant: a batch depends on its index only; asking twice gives the same values.
 */
import type { Notice } from "./events.ts";
import type { Feeds } from "./feeds.ts";

/** Where the beginning-of-sequence token comes from: the tokenizer's own settings, nowhere, or this id. */
export type BosOption = "auto" | "none" | number;

/** The fine print that makes two perplexities comparable. Input i of a window predicts id i + 1. */
export interface Protocol {
  readonly name: string;
  /** Predictions per window, scored or not; also the input length in tokens. */
  readonly window: number;
  /**
   * Tokens from one window's start to the next. Smaller than the window: the repeated predictions are context and
   * are scored once only. Greater: the tokens between are never predicted.
   */
  readonly stride: number;
  /** Put before the text once, unless the text already begins with it. */
  readonly bos: BosOption;
  /** Also overwrite each window's first token with it. */
  readonly bosEachWindow: boolean;
  /** First prediction of a window that is scored; those before are context. */
  readonly scoreFrom: number;
}

/** One stretch of the token stream. */
export interface TokenWindow {
  /** int32 [window + 1]: inputs are all but the last, targets all but the first. */
  readonly ids: Int32Array;
  /** Predictions from this index on are scored. */
  readonly scoreFrom: number;
}

/** Samples that are run together. */
export interface Batch {
  readonly feeds: Feeds;
  /** Samples in the batch. */
  readonly samples: number;
  /** One window per sample, with targets; only for token streams. */
  readonly windows?: readonly TokenWindow[] | undefined;
}

/** Samples for one graph, in batches. */
export interface Dataset {
  /** One line: source, size, window. */
  readonly description: string;
  readonly kind: "text" | "manifest" | "synthetic";
  /** How token windows were cut; undefined when the samples are no token windows. */
  readonly protocol: Protocol | undefined;
  /** What changed the meaning of the data; the caller emits these and reports them. */
  readonly notices: readonly Notice[];
  readonly samples: number;
  /** How many following samples share tokens with a sample; splits must keep that distance. */
  readonly overlap: number;
  readonly batches: number;
  /** Feeds of batch `index`, 0 .. batches − 1, checked against the graph. */
  batch(index: number): Promise<Batch>;
  /** sha256 of content and options, hex. Equal fingerprints mean equal batches. */
  readonly fingerprint: string;
  /**
   * The same data restricted to some samples, in the order given.
   *
   * @throws bad-data - not even one batch is left.
   */
  select(samples: readonly number[]): Dataset;
}
