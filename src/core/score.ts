/**
 * Scorers: the predicted rise of the task loss for every layer in every format it may take.
 */
import type { Algebra } from "./algebra.ts";
import type { RunOptions } from "./events.ts";
import type { WeightFormat } from "./format.ts";
import type { Layer, LayerId } from "./layer.ts";
import type { Method } from "./method.ts";
import type { Block, LayerStats, StatName } from "./stats.ts";
import type { Matrix } from "./tensor.ts";

/** A layer and the formats it may take, lowest width first; floats (loss 0) are not among them. */
export interface ScoreCandidate {
  readonly layer: Layer;
  readonly formats: readonly WeightFormat[];
}

/** Replaces one weight, runs the model on the search data, reports the mean loss against the float model. */
export interface LossProbe {
  readonly unit: string;
  /** Losses of every job, one per candidate. */
  measure(
    jobs: readonly ProbeJob[],
    onDone?: (layer: Layer) => void,
  ): Promise<readonly (readonly number[])[]>;
}

/** A layer and the weights to try in it. */
export interface ProbeJob {
  readonly layer: Layer;
  /** Replacement weights W [N, K], made one at a time. */
  readonly candidates: readonly (() => Promise<Matrix>)[];
}

export interface ScoreInput<S extends StatName = StatName> extends RunOptions {
  readonly candidates: readonly ScoreCandidate[];
  readonly stats: ReadonlyMap<LayerId, LayerStats<S>>;
  /** Transformer blocks; empty when the graph has none. */
  readonly blocks: readonly Block[];
  /** Ŵ [N, K] of a layer in a format by round-to-nearest: what weight-norm scores are defined on. */
  rounded(layer: Layer, format: WeightFormat): Promise<Matrix>;
  /** Ŵ [N, K] of a layer in a format, by the run's quantizer. */
  quantized(layer: Layer, format: WeightFormat): Promise<Matrix>;
  /** Made on first use; only scorers that declare `forward` may call it. */
  probe(): Promise<LossProbe>;
  readonly seed: number;
  /** Where output errors are computed; by default one thread that all such calls of the process share. */
  readonly algebra?: Algebra | undefined;
}

/** What a scorer says of one layer. */
export interface LayerLosses {
  /** One loss per format, in the candidate's order; finite, ≥ 0. */
  readonly losses: readonly number[];
  /** What `ranked` sorts blocks by; higher = more bits. */
  readonly importance?: number | undefined;
}

/** What scoring one layer takes, for estimates of a run's time and memory. */
export interface ScorerWork {
  /** Forward passes from the layer's block on; `widths` makes one per width. */
  readonly passes: number | "widths";
  /** Every format is quantized by the run's quantizer, not only rounded. */
  readonly quantizes: boolean;
  /** Quantized formats are judged by the Hessian. */
  readonly judges: boolean;
}

/** A method that predicts the damage of each choice. */
export interface Scorer<S extends StatName = StatName> extends Method<S> {
  /** True when it runs the model on the search split. */
  readonly forward: boolean;
  /** It compares transformer blocks, and is not defined on graphs without them. */
  readonly ranksBlocks?: boolean;
  /** By default the most that it can be: quantized and judged, with a pass per width if it runs the model. */
  readonly work?: ScorerWork;
  /** Unit of its losses, for reports. */
  readonly unit: string;
  /** Losses of every candidate layer, one per format. */
  score(input: ScoreInput<S>): Promise<ReadonlyMap<LayerId, LayerLosses>>;
}

/** Keeps inference: `needs` decides which statistics `score` may read. */
export const defineScorer = <const S extends StatName = never>(scorer: Scorer<S>): Scorer<S> =>
  scorer;
