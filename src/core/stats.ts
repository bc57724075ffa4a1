/**
 * Everything calibration can measure. A new statistic is one entry here and one file in `calibrate/`.
 * `T` counts calibration rows (tokens); statistics belong to graph values, layers share them.
 */
import type { LayerId } from "./layer.ts";

/**
 * Statistics of inputs are per row group of the layer, one group after the other (`Layer.groups`, G): grouped
 * convolutions multiply each group of rows with an X of its own. Elsewhere G is 1.
 */
export interface StatValues {
  /** max over rows of |x_k|, float32 [G, K]. */
  absMax: Float32Array;
  /** mean over rows of x_k², float64 [G, K]. */
  meanSquare: Float64Array;
  /** H = (2/T) XᵀX, float64 [G, K, K], symmetric, undamped; over all matrix uses of the weight. */
  hessian: Float64Array;
  /** How often each table row is gathered, per gathered row, float64 [N]; sums to 1. */
  rowFrequency: Float64Array;
  /** mean over rows of ‖x Wᵀ‖², the energy of the layer's own output: the denominator of its SQNR. */
  outputPower: number;
  /** cos(vec(h_in), vec(h_out)) over all rows of the transformer block the layer sits in; 0 when a norm is 0. */
  blockCosine: number;
}
/** Name of a statistic. */
export type StatName = keyof StatValues;

/**
 * Statistics of one layer. A statistic that does not apply is undefined: `hessian`, `absMax`, `meanSquare` and
 * `outputPower` need a MatMul, Gemm or Conv use, `rowFrequency` a Gather use, `blockCosine` a block.
 */
export type LayerStats<S extends StatName = StatName> = {
  readonly layer: LayerId;
  /** T: rows seen, of each group. */
  readonly tokens: number;
} & { readonly [Name in S]: StatValues[Name] | undefined };

/** Both layers' statistics as one, those of `more` first; nothing is read that lies in a file. */
export function joinStats<A extends StatName, B extends StatName>(
  stats: LayerStats<A>,
  more: Partial<LayerStats<B>>,
): LayerStats<A | B> {
  const properties = {
    ...Object.getOwnPropertyDescriptors(stats),
    ...Object.getOwnPropertyDescriptors(more),
  };
  return Object.defineProperties({}, properties) as LayerStats<A | B>;
}

/** One transformer block: input and output on the residual stream, and the layers inside. */
export interface Block {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly layers: readonly LayerId[];
}

/** The statistics that row groups have their own of. */
interface InputStats {
  readonly absMax?: StatValues["absMax"] | undefined;
  readonly meanSquare?: StatValues["meanSquare"] | undefined;
  readonly hessian?: StatValues["hessian"] | undefined;
}

/** G: how many row groups the statistics of a layer with K columns speak of; 1 when none of them is of its input. */
export function countGroups({ absMax, meanSquare, hessian }: InputStats, columns: number): number {
  if (hessian) return hessian.length / columns ** 2;
  return (absMax ?? meanSquare ?? { length: columns }).length / columns;
}

/** The statistics of the inputs of one row group, as a layer of its own would have them; views, not copies. */
export function groupStats<S extends StatName>(
  stats: LayerStats<S>,
  group: number,
  groups: number,
): LayerStats<S> {
  const part = <T extends Float32Array | Float64Array>(values: T | undefined) =>
    values?.subarray((group * values.length) / groups, ((group + 1) * values.length) / groups);
  const { absMax, meanSquare, hessian } = stats as InputStats;
  return {
    ...stats,
    ...(absMax && { absMax: part(absMax) }),
    ...(meanSquare && { meanSquare: part(meanSquare) }),
    ...(hessian && { hessian: part(hessian) }),
  };
}
