/**
 * A statistic compiles itself into the graph: it names the operators to append and how the small results of the
 * batches merge. Nothing accumulates activations.
 */
import type { TensorData } from "../core/feeds.ts";
import type { Layer, LayerUse } from "../core/layer.ts";
import type { Block, StatName, StatValues } from "../core/stats.ts";
import type { GraphTap, Model } from "../onnx/index.ts";

/** One measurement of one graph value. */
export interface Probe {
  /** Layers whose probes have equal keys share one measurement. */
  readonly key: string;
  /** Appends operators; returns the value whose small result leaves the session. */
  emit(tap: GraphTap): string;
  /** Folds one batch's result into the running total (undefined before the first batch). */
  merge(total: Float64Array | undefined, result: TensorData): Float64Array;
}

export interface StatisticContext {
  readonly model: Model;
  readonly blocks: readonly Block[];
}

export interface Statistic<S extends StatName = StatName> {
  readonly summary: string;
  /** What to measure for a layer; empty when the statistic does not apply to it. */
  probes(layer: Layer, context: StatisticContext): readonly Probe[];
  /**
   * @param totals - merged results, one per probe, in order.
   * @param tokens - T: rows seen by all probes of the layer together.
   */
  finish(totals: readonly Float64Array[], tokens: number): StatValues[S];
}

/** Uses of a layer that multiply: their activations are rows of X [T, K]. */
export function products(layer: Layer): readonly LayerUse[] {
  return layer.uses.filter((use) => use.opType !== "Gather");
}

/** True for Gemm with transA: the columns of its activation are the rows of X. */
function readsColumns(model: Model, use: LayerUse): boolean {
  const transA = model.graph.producer(use.output)?.attributes.get("transA");
  return transA?.type === "int" && transA.value !== 0;
}

/** What a use multiplies: layers that read the same value the same way share measurements. */
export function activationKey(model: Model, use: LayerUse): string {
  return readsColumns(model, use) ? `columns of ${use.activation}` : use.activation;
}

/** Rows X [T, K] of a use, float32. */
export function activationRows(tap: GraphTap, model: Model, layer: Layer, use: LayerUse): string {
  const columns = readsColumns(model, use);
  return tap.rows(columns ? tap.op("Transpose", [use.activation]) : use.activation, layer.k);
}

/** total + result, element by element, in float64. */
export function addUp(total: Float64Array | undefined, result: TensorData): Float64Array {
  const sum = total ?? new Float64Array(result.length);
  for (let i = 0; i < sum.length; i++) sum[i] += Number(result[i]);
  return sum;
}

/** Element-wise sum of several totals. */
export function sumTotals(totals: readonly Float64Array[]): Float64Array {
  return totals.reduce((sum, total) => addUp(sum, total), new Float64Array(totals[0].length));
}
