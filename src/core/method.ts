/**
 * What every plug-in says about itself, and the two smallest plug-in kinds' inputs.
 */
import type { Algebra } from "./algebra.ts";
import type { RunOptions } from "./events.ts";
import type { WeightFormat } from "./format.ts";
import type { LayerAlternatives, LayerScore } from "./plan.ts";
import type { QuantizedTensor } from "./quantized.ts";
import type { LayerStats, StatName } from "./stats.ts";
import type { Matrix } from "./tensor.ts";

/** What every plug-in says about itself. */
export interface Method<S extends StatName = never> {
  /** One line; CLI help and the README table are generated from it. */
  readonly summary: string;
  /** Paper, section, equation. */
  readonly source: string;
  /** Statistics it reads; calibration collects exactly these. */
  readonly needs: readonly S[];
}

/** One matrix and the format it is to take. */
export interface QuantizeInput<S extends StatName = StatName> {
  /** float32 [N, K]; not modified. */
  readonly weight: Matrix;
  readonly format: WeightFormat;
  readonly stats: LayerStats<S>;
  readonly options: QuantizeOptions;
  /** float32 [N, K], W*: what the codes shall approximate when a correction moved it; by default the weight itself. */
  readonly target?: Matrix | undefined;
  /** P of a correction, see `FeedbackInput.feed`; only for quantizers that say `takesFeed`. */
  readonly feed?: Float64Array | undefined;
  /** Where the work is done; by default one thread that all such calls of the process share. */
  readonly algebra?: Algebra | undefined;
}

/** Options of quantizers. */
export interface QuantizeOptions extends Pick<RunOptions, "onEvent"> {
  /** How the grid of a block is found: smallest mean-square error over clipped ranges, or plain min–max. */
  readonly grid: "mse" | "min-max";
  /** GPTQ: quantize columns in descending order of diag(H). */
  readonly activationOrder: boolean;
  /** GPTQ: λ = damping · mean(diag H). */
  readonly damping: number;
}

export const defaultQuantizeOptions: QuantizeOptions = {
  grid: "mse",
  activationOrder: false,
  damping: 0.01,
};

/** A method that turns weights into codes. */
export interface Quantizer<S extends StatName = StatName> extends Method<S> {
  /** It rounds column by column and can take the feed of a correction along. */
  readonly takesFeed?: boolean;
  /** Seconds per weight beside N·K² work, mostly its search of grids, for estimates; as measured on one core, rounded up. */
  readonly secondsPerWeight?: number;
  /** Codes and scales of the matrix in the format. */
  quantize(input: QuantizeInput<S>): QuantizedTensor | Promise<QuantizedTensor>;
}

export interface AllocateInput {
  readonly layers: readonly LayerAlternatives[];
  /** Bytes for all layers together. */
  readonly budgetBytes: number;
}

export interface Allocator extends Method {
  /** One list of alternatives per layer in, one pick per layer out, in the same order; Σ bytes ≤ budget. */
  allocate(input: AllocateInput): Promise<readonly LayerScore[]> | readonly LayerScore[];
}
