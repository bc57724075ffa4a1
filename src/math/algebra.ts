/**
 * Opens linear algebra: one memory, its kernels and threads, and the factors remembered there.
 * Invariant: results are the same bytes on any number of threads and on any engine, because no kernel has relaxed
 * instructions and every element is summed in one order.
 */
import type { Algebra, FactorOptions, HessianFactor } from "../core/algebra.ts";
import { invariant } from "../core/errors.ts";
import { type DenseOptions, openDense } from "./dense.ts";
import { factorDamped, type PanelFactor } from "./factor.ts";
import { openFactorMemory } from "./factor-memory.ts";
import { roundWithFeedback } from "./feedback.ts";
import { fitGrids } from "./grids.ts";
import { product, quadraticForm, solve } from "./products.ts";

export type AlgebraOptions = DenseOptions;

/**
 * Opens an algebra with a memory of its own, which grows with the largest problem up to 4 GiB and is free again when
 * the algebra is dropped. A factor of K columns takes 4·K² bytes; up to 128 MiB of factors that nobody uses are kept
 * for the next call that asks for the same Hessian.
 */
export async function openAlgebra(options: AlgebraOptions = {}): Promise<Algebra> {
  const dense = await openDense(options);
  const memory = openFactorMemory(dense);
  const panelFactors = new WeakMap<HessianFactor, PanelFactor>();
  const panelsOf = (factor: HessianFactor): PanelFactor => {
    const found = panelFactors.get(factor);
    invariant(found, "a factor of another algebra, or one that was released");
    return found;
  };
  return {
    get threads() {
      return dense.engine.threads;
    },
    async factor(hessian: Float64Array, asked: FactorOptions) {
      const held = await memory.hold(hessian, asked, () => factorDamped(dense, hessian, asked));
      const { size, damping, raised, deadColumns, order } = held.factor;
      const factor: HessianFactor = {
        size,
        damping,
        raised,
        deadColumns,
        order,
        release() {
          if (panelFactors.delete(factor)) held.release();
        },
      };
      panelFactors.set(factor, held.factor);
      return factor;
    },
    fitGrids: (weight, format, fit) => fitGrids(dense, weight, format, fit),
    roundWithFeedback: async (factor, input) => roundWithFeedback(dense, panelsOf(factor), input),
    product: (a, b, rows, inner, cols) => product(dense, a, b, rows, inner, cols),
    solve: async (factor, right, rows, matrix) =>
      solve(dense, panelsOf(factor), right, rows, matrix),
    quadraticForm: (delta, hessian) => quadraticForm(dense, delta, hessian),
    release: () => dense.engine.close(),
  };
}

let shared: Promise<Algebra> | undefined;

/** The algebra of callers who bring none: one per process, on one thread, opened when first asked for. */
export function sharedAlgebra(): Promise<Algebra> {
  shared ??= openAlgebra();
  return shared;
}
