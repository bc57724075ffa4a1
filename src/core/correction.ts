/**
 * Corrections: what they get, and what they give to the quantizer. A correction moves the weights of a layer so that
 * its output on the inputs of the partly quantized model comes close to its output in the float model.
 * Rows of X (float stream) and X̂ (partly quantized stream) are the same tokens, [T, K]; W is [N, K].
 */
import type { Algebra } from "./algebra.ts";
import type { RunOptions } from "./events.ts";
import type { LayerId } from "./layer.ts";
import type { QuantizedTensor } from "./quantized.ts";
import type { Matrix } from "./tensor.ts";

/** What the two streams say about the input of a layer, over one set of calibration rows. */
export interface StreamGrams {
  /** T. */
  readonly rows: number;
  /** H = (2/T) X̂ᵀX̂, float64 [K, K], symmetric, undamped; [G, K, K] where rows fall into groups (`Layer.groups`). */
  readonly hessian: Float64Array;
  /** C = (2/T) (X − X̂)ᵀX̂, float64 of the same shape: C_ij couples the drift of input i with the quantized input j. */
  readonly drift: Float64Array;
  /**
   * (2/T) (R − R̂)ᵀX̂, float64 [N, K], R and R̂ being what the output is added to in the two streams, [T, N]; undefined
   * where it is added to nothing that drifts.
   */
  readonly residualDrift?: Float64Array | undefined;
  /**
   * (2/T) (X − X̂)ᵀ(X − X̂), float64 [K, K]. Without it, and beside `residualDrift`, objectives are counted from J(W),
   * which is the same for every candidate.
   */
  readonly driftGram?: Float64Array | undefined;
}

/**
 * The output error of a layer over one set of rows, by its Gram matrices alone:
 *
 *   J(Ŵ) = (2/T) ‖X Wᵀ − X̂ Ŵᵀ‖²_F = J(W) − 2 tr(G Δᵀ) + tr(Δ H Δᵀ),   Δ = Ŵ − W,   G = W C
 *
 * Where the rows came with `residualDrift`, the error of the sum that the output becomes part of, by the same Δ:
 *
 *   J(Ŵ) = (2/T) ‖(X Wᵀ + R) − (X̂ Ŵᵀ + R̂)‖²_F,   G = W C + (2/T) (R − R̂)ᵀX̂
 */
export interface LayerObjective {
  readonly grams: StreamGrams;
  /** J(W), or 0 when the rows came without `driftGram` or with `residualDrift`. */
  readonly uncorrected: number;
  /** G, float64 [N, K], zero in columns with H_kk = 0: −½ of the gradient of J at W. Made once, not modified. */
  descent(): Promise<Float64Array>;
  /** J(candidate) − J(W); candidate float32 [N, K]. */
  change(candidate: Matrix): Promise<number>;
}

export interface CorrectOptions extends RunOptions {
  /** Strength of the correction, 0 .. 1; the default is the method's. */
  readonly alpha?: number | undefined;
  /** Relative damping, 0 or more; the default and what it is relative to are the method's. */
  readonly damping?: number | undefined;
}

/** What the correct stage takes for one layer. */
export interface CorrectInput {
  readonly layer: LayerId;
  /** float32 [N, K]; not modified. */
  readonly weight: Matrix;
  /** All calibration rows: what corrections are fitted on, and the Hessian that the quantizer uses. */
  readonly grams: StreamGrams;
  /** A part of those rows, for methods that choose: they fit on the others and judge on these. */
  readonly holdout?: StreamGrams | undefined;
  /** The quantizer rounds columns in descending order of H_kk, equal ones in column order; else in column order. */
  readonly activationOrder: boolean;
  /** True when the quantizer rounds column by column and takes a `feed`. */
  readonly takesFeed: boolean;
  readonly options: CorrectOptions;
  /** Where the work is done; by default one thread that all such calls of the process share. */
  readonly algebra?: Algebra | undefined;
  /** Rounds a target as the run will round it, for methods that judge by the rounded weights. */
  quantize(target: Matrix): Promise<QuantizedTensor>;
}

/** The checked input of a plug-in, with the objective it shall lower: J over `grams`. */
export interface CorrectProblem extends CorrectInput {
  readonly algebra: Algebra;
  readonly objective: LayerObjective;
}

/** What a plug-in gives. */
export interface CorrectedTarget {
  /** W*, the weights to round, float32 [N, K]; the weight itself where nothing changed. */
  readonly target: Matrix;
  /**
   * P, float64 [K, K], strictly upper triangular, rows and columns in rounding order: a column loop adds w_i ⊗ P_i,j
   * to column j > i, w_i being column i before it is rounded. Only where `takesFeed`.
   */
  readonly feed?: Float64Array | undefined;
  /** W* rounded by `quantize`, when the method had to; the same as rounding it again. */
  readonly quantized?: QuantizedTensor | undefined;
  /** J of the rounded weights, without and with the correction, when the method judged them. */
  readonly rounded?: ObjectiveChange | undefined;
  /** The same on the held-out rows, for the correction as fitted to the other rows: what it was chosen by. */
  readonly heldOut?: ObjectiveChange | undefined;
  /** Strength and relative damping behind the target; both 0 where nothing changed. */
  readonly alpha: number;
  readonly damping: number;
}

/** An objective before and after. */
export interface ObjectiveChange {
  readonly before: number;
  readonly after: number;
}

/** What the stage gives: the target, and J before rounding without and with the correction. */
export interface Corrected extends CorrectedTarget {
  readonly objective: ObjectiveChange;
}

/** Data of the run that a correction cannot do without. */
export type CorrectionNeed = "streams" | "holdout" | "residual";

/** A method that moves weights against the error of the layers before. */
export interface Correction {
  /** One line; CLI help and the README table are generated from it. */
  readonly summary: string;
  /** Paper, section, equation. */
  readonly source: string;
  /** Empty when it reads no activations at all; then the pipeline needs no second stream. */
  readonly needs: readonly CorrectionNeed[];
  /** The options it takes, with their defaults. */
  readonly parameters: { readonly alpha?: number; readonly damping?: number };
  /** The weights to round in place of W. */
  correct(problem: CorrectProblem): Promise<CorrectedTarget>;
}
