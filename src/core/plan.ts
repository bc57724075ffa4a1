/**
 * Plans: which layer gets which format, and what that costs. Versioned JSON, made to be read and edited.
 */
import type { WeightFormat } from "./format.ts";
import type { LayerId } from "./layer.ts";

/** One alternative for one layer: its exact bytes in the file and its predicted damage. */
export interface LayerScore {
  readonly layer: LayerId;
  readonly format: WeightFormat;
  /** Stored bytes: codes, scales, zero points, padding. */
  readonly bytes: number;
  /** Predicted rise of the task loss; additive over layers, ≥ 0. Nats per token for KL-based scorers. */
  readonly loss: number;
}

/** All alternatives of one layer, with what the two-level allocator and the report need beside them. */
export interface LayerAlternatives {
  readonly layer: LayerId;
  /** N·K. */
  readonly weights: number;
  readonly alternatives: readonly LayerScore[];
  /** Block of the residual stream the layer belongs to; `ranked` moves whole blocks. */
  readonly block?: string | undefined;
  /** The scorer's raw importance of the layer (its block's LIM or ZD), higher = more bits. */
  readonly importance?: number | undefined;
}

/** One format per layer; versioned, made to be read and edited. */
export interface BitPlan {
  readonly version: 1;
  readonly scorer: string;
  readonly allocator: string;
  readonly quantizer: string;
  readonly target: string;
  /** Bytes that the quantizable weights may take. */
  readonly budgetBytes: number;
  /** How weights become codes; plans without it leave that to the run. */
  readonly quantize?: PlannedQuantization | undefined;
  readonly layers: readonly PlannedLayer[];
}

/** See `QuantizeOptions` of the methods. */
export interface PlannedQuantization {
  readonly grid: "mse" | "min-max";
  readonly activationOrder: boolean;
  readonly damping: number;
  /** How errors are carried from layer to layer: a correction, or "one-shot"; plans without it leave that to the run. */
  readonly correction?: string | undefined;
  readonly correctionAlpha?: number | undefined;
  readonly correctionDamping?: number | undefined;
}

/** The format of one layer. */
export interface PlannedLayer {
  readonly layer: LayerId;
  /** Format id. */
  readonly format: string;
  readonly bytes: number;
  readonly loss: number;
}
