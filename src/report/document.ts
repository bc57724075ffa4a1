/**
 * The report of a run as plain JSON: what was decided, why, and what it cost. This is what `--json` prints, and all that
 * the page is made from.
 */
import type { Estimate } from "../core/estimate.ts";
import type { Notice } from "../core/events.ts";
import type { LayerId, SkippedNode } from "../core/layer.ts";
import type { RunNeeds } from "../core/needs.ts";

/** What was decided for one layer, and what it cost. */
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
  readonly nextUpgrade: LayerStep | null;
  /** Loss added per byte saved by the layer's next smaller format; null at its smallest. */
  readonly lastDowngrade: LayerStep | null;
  readonly outliers: OutlierReport;
}

/** One step of a layer to another format, and what each of its bytes is worth. */
export interface LayerStep {
  readonly format: string;
  /** Unit of the scores per byte. */
  readonly lossPerByte: number;
}

/** How uneven the numbers are that share a scale. null: not measured in this run, or not defined for the layer. */
export interface OutlierReport {
  /** Largest |w| over the root mean square of the weights. */
  readonly weightPeak: number | null;
  /** Share of weights more than one standard deviation above their mean, as in the scorer ZD. */
  readonly weightShare: number;
  /** Largest root mean square of an input channel over that of all channels. */
  readonly channelPeak: number | null;
  /** Largest |x| over the root mean square of the inputs. */
  readonly inputPeak: number | null;
}

/** The prices that decided, and the plans that could have been. Losses are predictions, added up over layers. */
export interface DecisionReport {
  /** What one byte is worth at the budget: loss saved per byte by the frontier's step across it; 0 above all steps. */
  readonly marginalPrice: number;
  /** Best loss for its bytes, rising bytes; at most a few hundred points. */
  readonly frontier: readonly PlanPoint[];
  /** One format for every layer. */
  readonly uniform: readonly (PlanPoint & { readonly format: string })[];
  readonly written: PlanPoint;
}

/** A plan on the frontier of bytes and predicted loss. */
export interface PlanPoint {
  readonly bytes: number;
  readonly loss: number;
}

/** Predictions of several scorers for one format, the same for all layers. */
export interface ScoreComparison {
  /** The format most layers were given. */
  readonly format: string;
  /** The run's own scorer first. */
  readonly scorers: readonly {
    readonly name: string;
    readonly unit: string;
    /** In the order of the layers; null where a layer cannot take the format or stays in float. */
    readonly losses: readonly (number | null)[];
    /** Spearman's, with the run's own scorer over the layers that both know; null for fewer than three. */
    readonly rankCorrelation: number | null;
  }[];
}

/** What made the file, beside its inputs. */
export interface EnvironmentReport {
  readonly node: string;
  readonly onnxRuntime: string;
  /** "linux-x64". */
  readonly platform: string;
  readonly threads: number;
  /** Most resident memory of the process so far. */
  readonly peakMemoryBytes: number;
}

/** Quality of a language model. */
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
    readonly perplexityFloat: Estimate;
    readonly perplexityQuantized: Estimate;
    /** Paired over windows, nats per token. */
    readonly nllIncrease: Estimate;
    readonly klDivergence: Estimate;
    readonly klDivergence999: Estimate;
    readonly topAgreement: Estimate;
  };
}

/** Quality of any other model. */
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

/** What quantization cost, measured as suits the model. */
export type QualityReport = LanguageQualityReport | OutputQualityReport;

/** The plan against the best uniform one, on data that neither has seen. */
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
  /**
   * Measured on the gate split, in the gate's unit; the smaller one is written. null where no layers were rounded by
   * themselves to compare with.
   */
  readonly loss: { readonly sequential: number; readonly oneShot: number } | null;
  readonly written: "sequential" | "one-shot";
  readonly layers: readonly PropagatedLayer[];
}

/** How the error grows through the network, on samples that neither calibration nor search has seen. */
export interface ErrorGrowthReport {
  /** Of the gate split. */
  readonly samples: number;
  /**
   * Σ ‖x − x̂‖² / Σ ‖x‖² of each layer's input, all layers before it quantized: layer after layer, and every layer by
   * itself in the same formats. null where an input cannot be measured, or that model was not made.
   */
  readonly layers: readonly {
    readonly layer: LayerId;
    readonly sequential: number | null;
    readonly oneShot: number | null;
  }[];
}

/** What propagation did to one layer. */
export interface PropagatedLayer {
  readonly layer: LayerId;
  /** Σ ‖x − x̂‖² / Σ ‖x‖² of its input; null where it is rounded before its input can be measured. */
  readonly relativeDrift: number | null;
  /** Strength and relative damping of the correction; 0 where the weight was left as it is. */
  readonly alpha: number;
  readonly damping: number;
  /**
   * Output error that the correction takes away before rounding, as a share of the output's power: (J(W) − J(W*)) /
   * tr(W H Wᵀ). Below 0 where it adds to it; null where nothing was corrected.
   */
  readonly gain: number | null;
}

/** What was decided and measured; the document of `quantize --json`. */
export interface QuantizeReport {
  readonly version: 1;
  readonly command: string;
  /** As it was typed; null for a call of the library. */
  readonly commandLine: string | null;
  readonly bitloom: string;
  readonly environment: EnvironmentReport;
  readonly model: { readonly path: string; readonly bytes: number; readonly sha256: string };
  readonly output: {
    readonly path: string;
    readonly bytes: number;
    readonly files: readonly string[];
    /** Of the file at `path`, hex. */
    readonly sha256: string;
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
  /** What was demanded of the quality; null where nothing was. Written files keep these. */
  readonly bounds: {
    readonly maxKlDivergence: number | null;
    readonly maxPerplexityIncrease: number | null;
  };
  readonly worstLayer: { readonly name: LayerId; readonly sqnrDb: number } | null;
  /** null when a saved plan was applied as it is. */
  readonly gate: GateReport | null;
  /** null when a saved plan was applied as it is. */
  readonly decision: DecisionReport | null;
  /** null when nothing was scored. */
  readonly scores: ScoreComparison | null;
  /** null when every layer was rounded by itself. */
  readonly propagation: PropagationReport | null;
  /** null when every layer was rounded by itself, or where activations are not finite. */
  readonly errorGrowth: ErrorGrowthReport | null;
  readonly layers: readonly ReportedLayer[];
  readonly skipped: readonly SkippedNode[];
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}
