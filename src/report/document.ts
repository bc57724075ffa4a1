/**
 * The report of a run as plain JSON: what was decided, why, and what it cost. This is what `--json` prints.
 */
import type { Notice } from "../core/events.ts";
import type { LayerId, SkippedNode } from "../core/layer.ts";
import type { RunNeeds } from "../core/needs.ts";

/** A measured value with its 95 % confidence interval over windows. */
export interface ReportedEstimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface ReportedLayer {
  readonly name: LayerId;
  readonly opType: string;
  readonly weight: string;
  readonly shape: readonly [n: number, k: number];
  readonly block: string | null;
  readonly format: string;
  readonly bits: number;
  readonly bytes: number;
  /** Predicted by the scorer, in its unit. */
  readonly loss: number;
  /** Of the layer's own output on the calibration data; of the weights where there are no statistics. null = exact. */
  readonly sqnrDb: number | null;
  /** Loss saved per byte by the layer's next better format; null at its best. */
  readonly nextUpgrade: { readonly format: string; readonly lossPerByte: number } | null;
}

export interface LanguageQualityReport {
  readonly kind: "language";
  readonly data: string;
  readonly protocol: string;
  readonly windows: number;
  readonly tokens: number;
  readonly perplexity: { readonly float: number; readonly quantized: number };
  /** Nats per token against the float model. */
  readonly klDivergence: number;
  /** 99.9th percentile of the per-token KL, nats. */
  readonly klDivergence999: number;
  readonly topAgreement: number;
  readonly intervals: {
    readonly perplexityFloat: ReportedEstimate;
    readonly perplexityQuantized: ReportedEstimate;
    /** Paired over windows, nats per token. */
    readonly nllIncrease: ReportedEstimate;
    readonly klDivergence: ReportedEstimate;
    readonly klDivergence999: ReportedEstimate;
    readonly topAgreement: ReportedEstimate;
  };
}

export interface OutputQualityReport {
  readonly kind: "outputs";
  readonly data: string;
  readonly samples: number;
  readonly outputs: readonly {
    readonly name: string;
    /** null = exact; −999 = zero in the float model only. */
    readonly sqnrDb: number | null;
    readonly cosine: number;
  }[];
}

export type QualityReport = LanguageQualityReport | OutputQualityReport;

export interface GateReport {
  readonly written: "plan" | "uniform";
  readonly unit: string;
  readonly planLoss: number;
  readonly uniform: {
    readonly format: string;
    readonly bytes: number;
    readonly loss: number;
  } | null;
  readonly samples: number;
}

/** How errors were carried from layer to layer. */
export interface PropagationReport {
  readonly correction: string;
  /** Layers taken from the checkpoint of an interrupted run. */
  readonly resumed: number;
  /** Most bytes of kept activations, in memory and in temporary files. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** Measured on the gate split, in the gate's unit; the smaller one is written. One-shot is null where it was not made. */
  readonly loss: { readonly sequential: number; readonly oneShot: number | null };
  readonly written: "sequential" | "one-shot";
  readonly layers: readonly PropagatedLayer[];
}

/** What propagation did to one layer. */
export interface PropagatedLayer {
  readonly layer: LayerId;
  /** Σ ‖x − x̂‖² / Σ ‖x‖² of its input; null where it is rounded before its input can be measured. */
  readonly relativeDrift: number | null;
  /** Strength and relative damping of the correction; 0 where the weight was left as it is. */
  readonly alpha: number;
  readonly damping: number;
  /** Output error by the Gram matrices before rounding, without and with the correction; null where nothing drifts. */
  readonly objective: { readonly before: number; readonly after: number } | null;
}

export interface QuantizeReport {
  readonly version: 1;
  readonly command: string;
  readonly bitloom: string;
  readonly model: { readonly path: string; readonly bytes: number; readonly sha256: string };
  readonly output: {
    readonly path: string;
    readonly bytes: number;
    readonly files: readonly string[];
  };
  /** Estimated before the work began; compare `timings`. */
  readonly preflight: RunNeeds | null;
  readonly options: Readonly<Record<string, unknown>>;
  /** Bytes the quantizable weights may take. */
  readonly budgetBytes: number;
  /** Bytes they take, in the plan and in the file. */
  readonly weightBytes: number;
  readonly floatWeightBytes: number;
  readonly weights: number;
  readonly bitsPerWeight: number;
  readonly scoreUnit: string;
  readonly quality: QualityReport;
  readonly worstLayer: { readonly name: LayerId; readonly sqnrDb: number } | null;
  /** null when a saved plan was applied as it is. */
  readonly gate: GateReport | null;
  /** null when every layer was rounded by itself. */
  readonly propagation: PropagationReport | null;
  readonly layers: readonly ReportedLayer[];
  readonly skipped: readonly SkippedNode[];
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}
