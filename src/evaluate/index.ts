/**
 * What quantization cost: quantized models against the float model on the same data, in one pass.
 */
import type { Batch, Dataset } from "../core/dataset.ts";
import { BitloomError } from "../core/errors.ts";
import type { Estimate } from "../core/estimate.ts";
import type { RunOptions } from "../core/events.ts";
import type { Feeds, FeedTensor } from "../core/feeds.ts";
import { findLogits, type Graph, type Model } from "../onnx/index.ts";
import {
  defaultMemoryLimitBytes,
  type Loss,
  runSegments,
  type WorkerRuntime,
} from "../runtime/index.ts";
import { requireFinite } from "./finite.ts";
import { mapEstimate, meanOverWindows, percentileOverWindows } from "./intervals.ts";
import { languageLoss, values } from "./language-loss.ts";
import { outputLoss, termsOf } from "./output-loss.ts";

export { requireFinite } from "./finite.ts";

/** Quality of a language model against its float original. */
export interface LanguageQuality {
  readonly kind: "language";
  readonly windows: number;
  readonly tokens: number;
  readonly perplexity: { readonly float: Estimate; readonly quantized: Estimate };
  /** quantized − float negative log-likelihood, paired over windows; nats per token. */
  readonly nllIncrease: Estimate;
  /** KL(float ‖ quantized), nats per token. */
  readonly klDivergence: Estimate;
  /** 99.9th percentile of the per-token KL, nats. */
  readonly klDivergence999: Estimate;
  /** Share of tokens where both models rank the same token first. */
  readonly topAgreement: Estimate;
  /** What the estimates are made of, in the order of the windows: for paired comparisons of two models. */
  readonly perWindow: {
    readonly tokens: readonly number[];
    /** Σ over the window's tokens of the quantized model's negative log-likelihood, nats. */
    readonly nll: readonly number[];
    /** Σ over the window's tokens of KL(float ‖ quantized), nats. */
    readonly kl: readonly number[];
  };
}

/** Quality of any other model: every float output against the float original's. */
export interface OutputQuality {
  readonly kind: "outputs";
  readonly samples: number;
  readonly outputs: readonly {
    readonly name: string;
    /** 10·log₁₀(‖y‖² / ‖ŷ − y‖²), dB. */
    readonly sqnrDb: number;
    readonly cosine: number;
  }[];
}

/** What quantization cost, measured as suits the model. */
export type Quality = LanguageQuality | OutputQuality;

/** The one number of a quality that plans are compared by, in the loss's unit; lower is better. */
export function lossOf(quality: Quality): number {
  if (quality.kind === "language") return quality.klDivergence.value;
  return quality.outputs.reduce((sum, { sqnrDb }) => sum + 10 ** (-sqnrDb / 10), 0);
}

/**
 * Whether one of two quantized models is really better: the mean difference per token, paired over windows.
 *
 * @param quality - of the model in question. @param base - of the one it is compared with, on the same windows.
 * @param measure - what is compared, nats per token.
 * @returns `quality − base` with its 95 % interval; below 0 where `quality` is better.
 *
 * @throws bad-option - the two were not measured on the same windows.
 */
export function pairedDifference(
  quality: LanguageQuality,
  base: LanguageQuality,
  measure: "nll" | "kl",
): Estimate {
  const { tokens } = quality.perWindow;
  const isSame =
    tokens.length === base.perWindow.tokens.length &&
    tokens.every((count, w) => count === base.perWindow.tokens[w]);
  if (!isSame) {
    throw new BitloomError(
      "bad-option",
      `Cannot pair two evaluations: expected the same windows, got ${tokens.length} and ${base.perWindow.tokens.length} windows of other lengths. Evaluate both models on the same text.`,
      { option: "base", got: `${base.perWindow.tokens.length} windows` },
    );
  }
  const other = base.perWindow[measure];
  return meanOverWindows(
    quality.perWindow[measure].map((value, w) => value - other[w]),
    tokens,
  );
}

/** KL for language models fed with token windows, relative squared error of the outputs for all others. */
export function chooseLoss(graph: Graph, dataset: Dataset): Loss {
  const { protocol } = dataset;
  return protocol && findLogits(graph) ? languageLoss(graph, protocol.window) : outputLoss(graph);
}

export interface EvaluateOptions extends RunOptions {
  readonly float: Model;
  readonly quantized: readonly Model[];
  readonly dataset: Dataset;
  readonly loss: Loss;
  readonly runtime: WorkerRuntime;
  /** Of open weights and of values between segments, see `runSegments`. Default 512 MiB. */
  readonly memoryLimitBytes?: number | undefined;
}

/**
 * Compares quantized models with the float model, batch by batch, in segments whose weights fit the memory limit; of
 * logits only those of a batch per worker are held.
 *
 * Cost: one forward pass of each model. Numerics: losses in float32 inside the graph, summed in float64.
 *
 * @returns one quality per quantized model, in order.
 * @throws numeric - a model computes NaN or overflows; see `requireFinite`.
 */
export async function evaluateModels(options: EvaluateOptions): Promise<Quality[]> {
  const qualities = await measureModels(options);
  qualities.forEach(requireFinite);
  return qualities;
}

/** `evaluateModels` for callers that can do with a model that computes NaN: its numbers are NaN then. */
export async function measureModels(options: EvaluateOptions): Promise<Quality[]> {
  const { float, quantized, dataset, loss, runtime, signal, onEvent } = options;
  const language = loss.kind === "language";
  const reference = loss.reference(float);
  const compared = quantized.map((model) => loss.compare(model, language));
  const totals = compared.map(({ results }) =>
    language ? new TokenTotals() : new OutputTotals(results),
  );
  await runSegments<Batch>({
    runtime,
    original: float,
    models: [
      { model: reference.model, fetch: reference.outputs },
      ...compared.map(({ model, results, referenceInputs, targetsInput }) => ({
        model,
        fetch: results,
        links: new Map(referenceInputs.map((name, i) => [name, reference.outputs[i]])),
        feeds: (batch: Batch): Feeds => (targetsInput ? { [targetsInput]: targetsOf(batch) } : {}),
      })),
    ],
    dataset,
    memoryLimitBytes: options.memoryLimitBytes ?? defaultMemoryLimitBytes,
    signal,
    step: "evaluation",
    onResults: (results, model, batch) => totals[model - 1].add(results, batch),
    onProgress: (done, total) => onEvent?.({ type: "progress", stage: "evaluate", done, total }),
  });
  return totals.map((total) => total.quality(dataset.samples));
}

/** Next tokens int64 [windows, tokens]. */
function targetsOf({ windows = [] }: Batch): FeedTensor {
  const length = windows[0].ids.length - 1;
  const data = new BigInt64Array(windows.length * length);
  windows.forEach(({ ids }, w) => {
    for (let t = 0; t < length; t++) data[w * length + t] = BigInt(ids[t + 1]);
  });
  return { dtype: "int64", shape: [windows.length, length], data };
}

/** Per-token results, kept per window. */
class TokenTotals {
  readonly nll: number[] = [];
  readonly referenceNll: number[] = [];
  readonly kl: number[] = [];
  readonly agree: number[] = [];
  readonly counts: number[] = [];
  readonly tokenKl: Float32Array[] = [];

  add(results: Feeds, { windows = [] }: Batch): void {
    const { nll, referenceNll, kl, agree } = Object.fromEntries(
      Object.entries(results).map(([name, tensor]) => [name, values(tensor)]),
    );
    const length = windows[0].ids.length - 1;
    windows.forEach(({ scoreFrom }, w) => {
      const scored = (all: Float32Array) => all.slice(w * length + scoreFrom, (w + 1) * length);
      const sum = (all: Float32Array) => scored(all).reduce((total, value) => total + value, 0);
      this.nll.push(sum(nll));
      this.referenceNll.push(sum(referenceNll));
      this.kl.push(sum(kl));
      this.agree.push(sum(agree));
      this.counts.push(length - scoreFrom);
      this.tokenKl.push(scored(kl));
    });
  }

  quality(): LanguageQuality {
    const { nll, referenceNll, kl, agree, counts, tokenKl } = this;
    const increase = nll.map((value, w) => value - referenceNll[w]);
    return {
      kind: "language",
      windows: counts.length,
      tokens: counts.reduce((sum, count) => sum + count, 0),
      perplexity: {
        float: mapEstimate(meanOverWindows(referenceNll, counts), Math.exp),
        quantized: mapEstimate(meanOverWindows(nll, counts), Math.exp),
      },
      nllIncrease: meanOverWindows(increase, counts),
      klDivergence: meanOverWindows(kl, counts),
      klDivergence999: percentileOverWindows(tokenKl, 0.999),
      topAgreement: meanOverWindows(agree, counts),
      perWindow: { tokens: counts, nll, kl },
    };
  }
}

/** Error terms of every output, summed over batches. */
class OutputTotals {
  readonly terms: Map<string, Float64Array>;

  constructor(names: readonly string[]) {
    this.terms = new Map(names.map((name) => [name, new Float64Array(4)]));
  }

  add(results: Feeds): void {
    for (const [name, tensor] of Object.entries(results)) {
      const sums = this.terms.get(name) as Float64Array;
      values(tensor).forEach((value, i) => {
        sums[i] += value;
      });
    }
  }

  quality(samples: number): OutputQuality {
    const prefix = termsOf("");
    const outputs = [...this.terms].map(([name, [error, power, dot, own]]) => ({
      name: name.slice(prefix.length),
      sqnrDb: error === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(power / error),
      cosine: power * own === 0 ? (power === own ? 1 : 0) : dot / Math.sqrt(power * own),
    }));
    return { kind: "outputs", samples, outputs };
  }
}
