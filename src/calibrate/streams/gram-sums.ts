/**
 * Gram matrices summed over batches, apart for those batches that fit and those that judge.
 */
import type { StreamGrams } from "../../core/correction.ts";
import type { FeedTensor, TensorData } from "../../core/feeds.ts";
import type { Layer } from "../../core/layer.ts";
import { scaledSymmetric } from "../statistic.ts";
import type { GramOutputs } from "./gram-model.ts";

/** What reaches a group of layers. */
export interface Measured {
  /** Over all rows. */
  readonly grams: StreamGrams;
  /** Over every third batch of them; undefined when there are fewer than three, or nobody asked for it. */
  readonly holdout: StreamGrams | undefined;
}

/** What a step's activations say; without Gram matrices where only powers are measured. */
export interface FoundInStep {
  readonly measured: Measured | undefined;
  /** See `StreamGroup`. */
  readonly relativeDrift: number;
}

export type GramResults = Readonly<Partial<Record<keyof GramOutputs, FeedTensor | undefined>>>;

/** All layers of a group have these in common. */
type GramLayer = Pick<Layer, "groups" | "k" | "n">;

/** Columns of the sums that results are of. */
export interface GramBlock {
  readonly first: number;
  readonly width: number;
}

/** Sums over batches, apart for those that judge and those that fit. */
export class GramSums {
  readonly #fit: GramSum;
  readonly #heldOut: GramSum;
  readonly #onlyPowers: boolean;

  constructor(layer: GramLayer, onlyPowers: boolean) {
    this.#fit = new GramSum(layer);
    this.#heldOut = new GramSum(layer);
    this.#onlyPowers = onlyPowers;
  }

  add(results: GramResults, isHeldOut: boolean, block: GramBlock): void {
    (isHeldOut ? this.#heldOut : this.#fit).add(results, block);
  }

  finish(): FoundInStep {
    const all = this.#fit;
    const heldOut = this.#heldOut;
    all.merge(heldOut);
    const relativeDrift = all.power > 0 ? all.driftPower / all.power : 0;
    if (this.#onlyPowers) return { measured: undefined, relativeDrift };
    const holdout = heldOut.elements > 0 ? heldOut.finish() : undefined;
    return { measured: { grams: all.finish(), holdout }, relativeDrift };
  }
}

/** Sums of Gram matrices, float64. */
class GramSum {
  readonly #layer: GramLayer;
  hessian: Float64Array | undefined;
  drift: Float64Array | undefined;
  residualDrift: Float64Array | undefined;
  elements = 0;
  power = 0;
  driftPower = 0;

  constructor(layer: GramLayer) {
    this.#layer = layer;
  }

  add(results: GramResults, block: GramBlock): void {
    const { hessian, drift, residualDrift } = results;
    const { groups, k, n } = this.#layer;
    if (hessian) this.hessian = addColumns(this.hessian, hessian.data, groups * k, k, block);
    if (drift) this.drift = addColumns(this.drift, drift.data, groups * k, k, block);
    if (residualDrift) {
      this.residualDrift = addColumns(this.residualDrift, residualDrift.data, n, k, block);
    }
    // Every block counts all elements.
    if (block.first > 0) return;
    this.elements += numberOf(results.size);
    this.power += numberOf(results.power);
    this.driftPower += numberOf(results.driftPower);
  }

  merge(other: GramSum): void {
    const all = { first: 0, width: this.#layer.k };
    const { hessian, drift, residualDrift, elements, power, driftPower } = other;
    const merged = (own: Float64Array | undefined, added: Float64Array | undefined) =>
      added ? addColumns(own, added, added.length / all.width, all.width, all) : own;
    this.hessian = merged(this.hessian, hessian);
    this.drift = merged(this.drift, drift);
    this.residualDrift = merged(this.residualDrift, residualDrift);
    this.elements += elements;
    this.power += power;
    this.driftPower += driftPower;
  }

  /** (2/T) times the sums, in place. */
  finish(): StreamGrams {
    const { groups, k } = this.#layer;
    const rows = this.elements / (groups * k);
    const sum = this.hessian ?? new Float64Array(groups * k * k);
    const drift = this.drift ?? new Float64Array(groups * k * k);
    const factor = rows > 0 ? 2 / rows : 0;
    const hessian = scaledSymmetric(sum, k, factor);
    const { residualDrift } = this;
    for (const sum of [drift, residualDrift ?? []]) {
      for (let i = 0; i < sum.length; i++) sum[i] *= factor;
    }
    return { rows, hessian, drift, residualDrift };
  }
}

/** Adds a block of columns to a matrix [rows, cols], which is made when there is none. */
function addColumns(
  total: Float64Array | undefined,
  added: TensorData,
  rows: number,
  cols: number,
  { first, width }: GramBlock,
): Float64Array {
  const sum = total ?? new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const to = row * cols + first;
    const from = row * width;
    for (let i = 0; i < width; i++) sum[to + i] += added[from + i] as number;
  }
  return sum;
}

const numberOf = (tensor: FeedTensor | undefined): number => Number(tensor?.data[0] ?? 0);
