/**
 * Linear algebra at the size of real layers, as stages see it. `math/` implements it on WebAssembly kernels.
 * Invariant: arguments are not modified, and results are the same bytes on any number of threads.
 */
import type { WeightFormat } from "./format.ts";
import type { Matrix } from "./tensor.ts";

/** R of a damped Hessian, kept where the kernels work. */
export interface HessianFactor {
  /** K. */
  readonly size: number;
  /** Relative damping that worked: λ = damping · mean(diag H). */
  readonly damping: number;
  /** Relative dampings tried after the requested one failed, ascending; empty when the first attempt worked. */
  readonly raised: readonly number[];
  /** Number of columns with H_kk = 0. */
  readonly deadColumns: number;
  /** Row and column k of R belong to Hessian index `order[k]`; undefined = column order. */
  readonly order: Int32Array | undefined;
  /** Says that the caller is done with it; to be called once for each `factor`. */
  release(): void;
}

/** Damping of a factorization, and the order of its columns. */
export interface FactorOptions {
  /** λ = damping · mean(diag H). */
  readonly damping: number;
  /** Columns in descending order of H_kk; equal ones keep their order. */
  readonly activationOrder: boolean;
  /** Only for the error message. */
  readonly layer: string;
}

/** One grid per row and block, as `QuantizedTensor` stores them, zero points also for symmetric formats. */
export interface GridSet {
  /** float32 [N, B], values of the format's scale type; 0 for a block of zeros; may be negative. */
  readonly scales: Float32Array;
  /** uint8 [N, B], 0 .. 2^bits − 1. */
  readonly zeroPoints: Uint8Array;
}

/** How the grid of a block is found. */
export interface GridFit {
  /** Trial scales of the search for the smallest squared error, each `ratio` times the one before; 0: min-max. */
  readonly trials: number;
  readonly ratio: number;
  /** float64 [K], ≥ 0: what the squared error of each column counts; undefined counts all as 1. */
  readonly importance?: Float64Array | undefined;
}

/** What rounding with error feedback (GPTQ) takes. */
export interface FeedbackInput {
  /** float32 [N, K]: the weights to approximate. */
  readonly weight: Matrix;
  readonly format: WeightFormat;
  /** Grids decided before, or how to fit them when their block starts (column order, blocks in whole groups). */
  readonly grids: GridSet | GridFit;
  /**
   * P, float64 [K, K], strictly upper triangular, row and column k belonging to weight column `order[k]`: column j
   * gets + Σ_{i<j} t_i P_ij, t_i being column i before it is rounded. The diagonal and below are not read.
   */
  readonly feed?: Float64Array | undefined;
}

export interface FeedbackResult extends GridSet {
  /** uint8 [N, K]. */
  readonly codes: Uint8Array;
  /** First row in which a column was not finite before rounding; undefined when all were. */
  readonly overflowRow: number | undefined;
}

/** Dense linear algebra on one memory and its threads. */
export interface Algebra {
  readonly threads: number;
  /**
   * R Rᵀ = P (H + λI) Pᵀ, R upper triangular. Asked again for the same array, damping and order, it is remembered;
   * Hessians must not change while they are in use.
   *
   * Cost: K³/3 operations; 4·K² bytes for the factor, 1 kB · K while it is made.
   * @throws numeric - the Hessian is not finite, or the fifth tenfold raise of λ failed too.
   */
  factor(hessian: Float64Array, options: FactorOptions): Promise<HessianFactor>;
  /** One grid per row and block, of the block's own weights. Cost: memory for 1 MB of rows, or one row, at a time. */
  fitGrids(weight: Matrix, format: WeightFormat, fit: GridFit): Promise<GridSet>;
  /**
   * Rounds column by column, each column seeing the errors of those before it.
   *
   *   t_i = w_i + (Σ_{j<i} d_j R_ji) / R_ii,   ŵ_i = round(t_i),   d_i = w_i − ŵ_i
   *
   * Cost: N·K² operations; memory for at most 512 rows, 17·K bytes each (33·K and 4·K² more with a feed).
   */
  roundWithFeedback(factor: HessianFactor, input: FeedbackInput): Promise<FeedbackResult>;
  /**
   * A · B, float64 [rows, cols], for A [rows, inner] and B [inner, cols], row-major.
   *
   * Cost: 2 · rows · inner · cols operations; 8 bytes for every element of 1024 columns of B, and of 512
   *   rows of A and of the result.
   */
  product(
    a: Float32Array | Float64Array,
    b: Float64Array,
    rows: number,
    inner: number,
    cols: number,
  ): Promise<Float64Array>;
  /**
   * X of X · M = B for rows B float64 [rows, K] in the column order of the factor, M being R, Rᵀ or R Rᵀ.
   *
   * Cost: K² operations per row for a triangle; memory for at most 512 rows, 8·K bytes each.
   */
  solve(
    factor: HessianFactor,
    right: Float64Array,
    rows: number,
    matrix: "R" | "Rᵀ" | "R Rᵀ",
  ): Promise<Float64Array>;
  /**
   * tr(Δ H Δᵀ) for Δ float32 [N, K] and H symmetric: the output error of a weight change.
   *
   * Cost: N·K² operations; 8·K bytes for at most 1024 columns, and 16·K for at most 512 rows.
   * Numerics: float64. May come out below zero by rounding when H is singular; not clamped here.
   */
  quadraticForm(delta: Matrix, hessian: Float64Array): Promise<number>;
  /** Ends the threads; nothing may be asked afterwards. */
  release(): Promise<void>;
}
