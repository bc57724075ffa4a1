/**
 * Factors that were made, kept in the kernels' memory: layers that share an activation share its Hessian array, and
 * scoring asks once per format. Relies on Hessians being immutable.
 * Invariant: a factor that someone holds is never thrown out.
 */
import { upperPanelBytes } from "../../native/index.ts";
import type { FactorOptions } from "../core/algebra.ts";
import type { Dense } from "./dense.ts";
import type { PanelFactor } from "./factor.ts";

/** Factors that nobody holds may take this much: two of 4096 columns, dozens of 1024. */
const idleBytes = 128 * 2 ** 20;

export interface HeldFactor {
  readonly factor: PanelFactor;
  release(): void;
}

export interface FactorMemory {
  /** The remembered factor of a Hessian, or what `make` gives; concurrent calls make it once. */
  hold(
    hessian: Float64Array,
    options: FactorOptions,
    make: () => Promise<PanelFactor>,
  ): Promise<HeldFactor>;
}

interface Entry {
  /** Weak, so that a factor does not keep a Hessian of twice its size alive. */
  readonly hessian: WeakRef<Float64Array>;
  readonly damping: number;
  readonly activationOrder: boolean;
  readonly made: Promise<PanelFactor>;
  factor: PanelFactor | undefined;
  holders: number;
}

export function openFactorMemory({ engine }: Dense): FactorMemory {
  /** The one used last stands last. */
  const entries: Entry[] = [];
  const remove = (entry: Entry) => {
    const index = entries.indexOf(entry);
    if (index >= 0) entries.splice(index, 1);
  };
  const bytesOf = ({ factor }: Entry) => (factor ? upperPanelBytes(factor.padded) : 0);
  const tidy = () => {
    const idle = entries.filter(({ holders, factor }) => holders === 0 && factor);
    let bytes = idle.reduce((sum, entry) => sum + bytesOf(entry), 0);
    for (const entry of idle) {
      if (bytes <= idleBytes && entry.hessian.deref()) continue;
      bytes -= bytesOf(entry);
      if (entry.factor) engine.give(entry.factor.panels);
      remove(entry);
    }
  };
  return {
    async hold(hessian, { damping, activationOrder }, make) {
      let entry = entries.find(
        (one) =>
          one.hessian.deref() === hessian &&
          one.damping === damping &&
          one.activationOrder === activationOrder,
      );
      if (entry) remove(entry);
      else {
        tidy();
        const made = make();
        const hessianRef = new WeakRef(hessian);
        entry = {
          hessian: hessianRef,
          damping,
          activationOrder,
          made,
          factor: undefined,
          holders: 0,
        };
      }
      entries.push(entry);
      const held = entry;
      held.holders++;
      try {
        held.factor = await held.made;
      } catch (error) {
        remove(held);
        throw error;
      }
      const { factor } = held;
      return {
        factor,
        release() {
          held.holders--;
          tidy();
        },
      };
    },
  };
}
