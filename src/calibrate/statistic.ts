/**
 * A statistic compiles itself into the graph: it names the operators to append and how the small results of the
 * batches merge. Nothing accumulates activations.
 */
import type { TensorData } from "../core/feeds.ts";
import type { Layer, LayerUse } from "../core/layer.ts";
import type { Block, StatName, StatValues } from "../core/stats.ts";
import { elementCount } from "../core/tensor.ts";
import { attribute, type GraphTap, type Model } from "../onnx/index.ts";
import { inWeightOrder, unfoldedRows } from "./unfold.ts";

/** One measurement of one graph value. */
export interface Probe {
  /** Layers whose probes have equal keys share one measurement. */
  readonly key: string;
  /** Appends operators; returns the value whose small result leaves the session. */
  emit(tap: GraphTap): string;
  /** Folds one batch's result into the running total (undefined before the first batch). */
  merge(total: Float64Array | undefined, result: TensorData): Float64Array;
}

/** What a statistic may look at beside its layer. */
export interface StatisticContext {
  readonly model: Model;
  readonly blocks: readonly Block[];
}

/** How one statistic is compiled into a graph, and made of what the graph gives. */
export interface Statistic<S extends StatName = StatName> {
  readonly summary: string;
  /** What to measure for a layer; empty when the statistic does not apply to it. */
  probes(layer: Layer, context: StatisticContext): readonly Probe[];
  /**
   * The statistic, of all data.
   *
   * @param totals - merged results, one per probe, in order.
   * @param tokens - T: rows seen by all probes of the layer together, of each row group.
   */
  finish(totals: readonly Float64Array[], tokens: number, layer: Layer): StatValues[S];
}

/** Uses of a layer that multiply: their activations are rows of X [T, G · K], or are unfolded into such rows. */
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
  if (use.window) return `${use.activation} unfolded by ${JSON.stringify(use.window)}`;
  return readsColumns(model, use) ? `columns of ${use.activation}` : use.activation;
}

/**
 * Rows X [T, G · K] of a use, float32. Columns of unfolded rows are in an order of their own: `groupProducts` and
 * `perColumn` give results in that of W.
 */
export function activationRows(tap: GraphTap, model: Model, layer: Layer, use: LayerUse): string {
  if (use.window) return unfoldedRows(tap, use.activation, use.window, layer.groups * layer.k);
  const columns = readsColumns(model, use);
  return tap.rows(columns ? tap.op("Transpose", [use.activation]) : use.activation, layer.k);
}

/**
 * AᵀB of each row group for A and B [T, G · K] of `activationRows`, in the column order of W.
 *
 * @returns float32 [G, K, K], [K, K] where G is 1.
 */
export function groupProducts(
  tap: GraphTap,
  a: string,
  b: string,
  { groups, k }: Layer,
  { window }: LayerUse,
): string {
  if (!window || groups === 1) {
    const product = tap.op("MatMul", [tap.op("Transpose", [a]), b]);
    return window ? inWeightOrder(tap, product, window, k, 2) : product;
  }
  const taps = elementCount(window.kernel);
  const split = (value: string, order: readonly number[], shape: readonly number[]) => {
    const parts = tap.op("Reshape", [value, tap.int64([-1, taps, groups, k / taps])]);
    const turned = tap.op("Transpose", [parts], { perm: attribute.ints(order) });
    return tap.op("Reshape", [turned, tap.int64(shape)]);
  };
  return tap.op("MatMul", [
    split(a, [2, 3, 1, 0], [groups, k, -1]),
    split(b, [2, 0, 3, 1], [groups, -1, k]),
  ]);
}

/** One value for each column of `activationRows`, [G · K], in the order of W. */
export function perColumn(tap: GraphTap, value: string, layer: Layer, use: LayerUse): string {
  const columns = layer.groups * layer.k;
  return use.window ? inWeightOrder(tap, value, use.window, columns, 1) : value;
}

/** factor · sum of each row group, [G, K, K], in place; the runtime's product is symmetric only up to rounding. */
export function scaledSymmetric(sum: Float64Array, k: number, factor: number): Float64Array {
  for (let start = 0; start < sum.length; start += k * k) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j <= i; j++) {
        const value = ((sum[start + i * k + j] + sum[start + j * k + i]) / 2) * factor;
        sum[start + i * k + j] = value;
        sum[start + j * k + i] = value;
      }
    }
  }
  return sum;
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
