/**
 * Gram matrices summed over batches, apart for those batches that fit and those that judge.
 */
import type { StreamGrams } from "../../core/correction.ts";
import type { FeedTensor } from "../../core/feeds.ts";
import type { Layer } from "../../core/layer.ts";
import { addUp, scaledSymmetric } from "../statistic.ts";
import type { GramOutputs } from "./segment.ts";

/** What reaches a group of layers. */
export interface Measured {
  /** Over all rows. */
  readonly grams: StreamGrams;
  /** Over every third batch of them; undefined when there are fewer than three, or nobody asked for it. */
  readonly holdout: StreamGrams | undefined;
  /** Σ ‖x − x̂‖² / Σ ‖x‖²: error that has grown so far, relative to the activation. */
  readonly relativeDrift: number;
}

/** Every third batch judges, the others fit. */
export const holdoutEvery = 3;

export type GramResults = Readonly<Partial<Record<keyof GramOutputs, FeedTensor | undefined>>>;

/** All layers of a group have these in common. */
type GramLayer = Pick<Layer, "groups" | "k">;

/** Sums over batches, apart for those that judge and those that fit. */
export class GramSums {
  readonly #fit = new GramSum();
  readonly #heldOut = new GramSum();
  readonly #isSplit: boolean;

  constructor(isSplit: boolean) {
    this.#isSplit = isSplit;
  }

  add(results: GramResults, batch: number): void {
    const isHeldOut = this.#isSplit && batch % holdoutEvery === holdoutEvery - 1;
    (isHeldOut ? this.#heldOut : this.#fit).add(results);
  }

  finish(layer: GramLayer): Measured {
    const all = this.#fit;
    all.merge(this.#heldOut);
    return {
      grams: all.finish(layer),
      holdout: this.#heldOut.elements > 0 ? this.#heldOut.finish(layer) : undefined,
      relativeDrift: all.power > 0 ? all.driftPower / all.power : 0,
    };
  }
}

/** Sums of Gram matrices, float64. */
class GramSum {
  hessian: Float64Array | undefined;
  drift: Float64Array | undefined;
  residualDrift: Float64Array | undefined;
  elements = 0;
  power = 0;
  driftPower = 0;

  add({ hessian, drift, residualDrift, size, power, driftPower }: GramResults): void {
    if (!hessian) return;
    this.hessian = addUp(this.hessian, hessian.data);
    if (drift) this.drift = addUp(this.drift, drift.data);
    if (residualDrift) this.residualDrift = addUp(this.residualDrift, residualDrift.data);
    this.elements += numberOf(size);
    this.power += numberOf(power);
    this.driftPower += numberOf(driftPower);
  }

  merge(other: GramSum): void {
    if (other.hessian) this.hessian = addUp(this.hessian, other.hessian);
    if (other.drift) this.drift = addUp(this.drift, other.drift);
    if (other.residualDrift) this.residualDrift = addUp(this.residualDrift, other.residualDrift);
    this.elements += other.elements;
    this.power += other.power;
    this.driftPower += other.driftPower;
  }

  /** (2/T) times the sums, in place. */
  finish({ groups, k }: GramLayer): StreamGrams {
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

const numberOf = (tensor: FeedTensor | undefined): number => Number(tensor?.data[0] ?? 0);
