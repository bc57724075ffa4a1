/**
 * Damped factors of Hessians, and the one damping rule of the library.
 * Not here: the factorization (`factor-panels.ts`), emitting notices; callers turn `raised` into events.
 * Invariant: the Hessian passed in is never modified.
 */
import { paddedLines, upperPanelBytes, upperPanelOffset } from "../../native/index.ts";
import type { FactorOptions, HessianFactor } from "../core/algebra.ts";
import { BitloomError, invariant } from "../core/errors.ts";
import { type Dense, withMemory } from "./dense.ts";
import { factorPanels, factorStripBytes } from "./factor-panels.ts";

/** How often λ is raised tenfold before giving up. */
const maxRaises = 5;
/** Factor, strips and 512 rows of this many columns just fit into the 4 GiB of a WebAssembly memory. */
const largestSize = 30000;
/** First non-zero damping when the caller asked for none and the undamped matrix cannot be factored. */
const smallestRaisedDamping = 1e-6;

/** R in upper panels at an address; `padded` columns, those past `size` those of a unit matrix. */
export interface PanelFactor extends Omit<HessianFactor, "release"> {
  readonly panels: number;
  readonly padded: number;
}

/**
 * Upper factor of a damped Hessian.
 *
 *   R Rᵀ = P (H + λI) Pᵀ,   λ = damping · mean(diag H)
 *
 * R⁻¹ is the factor U of the inverse, UᵀU = (H + λI)⁻¹, that GPTQ is usually written with; here it is never formed.
 *
 * @param hessian - float64 [K, K], symmetric, undamped; the lower triangle of rows is read.
 *
 * Cost: K³/3 operations; 4·K² bytes that the caller gives back (`panels`), 1 kB · K while it works.
 * Numerics: float64. H_kk = 0 (dead input) counts as 1, so that row k of R is zero beside its diagonal. When a pivot
 *   fails λ is raised tenfold (from at least 1e-6), at most five times. A Hessian of zeros gives R = I.
 * @throws numeric - the Hessian holds NaN or infinity, or the fifth raise failed too. unsupported - K is above 30000.
 */
export async function factorDamped(
  dense: Dense,
  hessian: Float64Array,
  options: FactorOptions,
): Promise<PanelFactor> {
  const { activationOrder, layer } = options;
  const size = Math.round(Math.sqrt(hessian.length));
  invariant(size * size === hessian.length, "a Hessian that is not square");
  if (size > largestSize) {
    throw new BitloomError(
      "unsupported",
      `Cannot factor the Hessian of "${layer}" (${size} × ${size}): expected at most ${largestSize} inputs, which is what 4 GiB of WebAssembly memory hold. Use --quantizer rtn, or keep this layer in float.`,
      { what: `a Hessian of ${size} inputs`, node: layer },
    );
  }
  const order = activationOrder ? descendingDiagonal(hessian, size) : undefined;
  const { trace, deadColumns } = diagonalFacts(hessian, size);
  const padded = paddedLines(size);
  const panels = dense.engine.take(upperPanelBytes(padded));
  const raised: number[] = [];
  let { damping } = options;
  try {
    await withMemory(dense, [factorStripBytes(padded)], async (strips) => {
      for (;;) {
        const noise = loadPanels(dense, panels, hessian, size, {
          order,
          damping: (damping * trace) / size,
        });
        if (await factorPanels(dense, panels, strips, padded, noise)) return;
        if (raised.length === maxRaises || !Number.isFinite(trace)) {
          throw new BitloomError(
            "numeric",
            `Cannot factor the Hessian of "${layer}" (${size} × ${size}): expected positive definite and finite, got a bad pivot with damping ${damping}. Check the calibration data for NaN or infinity, or raise the damping.`,
            { layer, step: "hessian-factor" },
          );
        }
        damping = Math.max(damping * 10, smallestRaisedDamping);
        raised.push(damping);
      }
    });
  } catch (error) {
    dense.engine.give(panels);
    throw error;
  }
  return { size, padded, panels, damping, raised, deadColumns, order };
}

function diagonalFacts(hessian: Float64Array, size: number) {
  let trace = 0;
  let deadColumns = 0;
  for (let k = 0; k < size; k++) {
    const diagonal = hessian[k * size + k];
    trace += diagonal;
    if (diagonal === 0) deadColumns++;
  }
  return { trace, deadColumns };
}

/** The activation order: column indices by descending H_kk; equal ones keep their order. */
export function descendingDiagonal(hessian: Float64Array, size: number): Int32Array {
  const order = Int32Array.from({ length: size }, (_, k) => k);
  return order.sort((a, b) => hessian[b * size + b] - hessian[a * size + a] || a - b);
}

/**
 * Writes the upper panels of a symmetric matrix, diagonals of 0 as 1, λ added, and gives what rounding noise can be
 * in each pivot: size · 2⁻⁵² · A_kk.
 */
function loadPanels(
  dense: Dense,
  address: number,
  hessian: Float64Array,
  size: number,
  { order, damping }: { readonly order: Int32Array | undefined; readonly damping: number },
): Float64Array {
  const padded = paddedLines(size);
  const noise = new Float64Array(padded);
  writePanels(dense, address, size, (panel, column, t) => {
    // A row of the symmetric matrix, because its elements lie side by side.
    const from = (order ? order[column] : column) * size;
    if (order) for (let k = 0; k <= column; k++) panel[4 * k + t] = hessian[from + order[k]];
    else for (let k = 0; k <= column; k++) panel[4 * k + t] = hessian[from + k];
    const diagonal = panel[4 * column + t];
    panel[4 * column + t] = (diagonal === 0 ? 1 : diagonal) + damping;
    noise[column] = size * 2 ** -52 * panel[4 * column + t];
  });
  return noise;
}

/**
 * Writes an upper triangle column by column; padding columns are those of a unit matrix, below the diagonal is 0.
 *
 * @param write - puts rows 0 .. column of a column at `panel[4 · row + t]`.
 */
export function writePanels(
  dense: Dense,
  address: number,
  size: number,
  write: (panel: Float64Array, column: number, t: number) => void,
): void {
  for (let first = 0; first < size; first += 4) {
    const panel = dense.floats(address + upperPanelOffset(first / 4), 4 * (first + 4));
    panel.fill(0, 4 * first);
    for (let t = 0; t < 4; t++) {
      if (first + t < size) {
        write(panel, first + t, t);
        continue;
      }
      for (let k = 0; k < first + 4; k++) panel[4 * k + t] = 0;
      panel[4 * (first + t) + t] = 1;
    }
  }
}
