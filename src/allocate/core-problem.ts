/**
 * Hands the core of a multiple-choice knapsack to HiGHS, a mixed-integer solver in WebAssembly; its only importer.
 * Not here: which alternatives are in the core. Invariant: the caller checks bytes; the solver's word is not taken.
 */
import highsModule, { type ModelData, type VariableType } from "highs";
import type { LayerScore } from "../core/plan.ts";

/** The package types its ES module as CommonJS: the default import is the loader itself, not an object that has it. */
const loadHighs = highsModule as unknown as typeof highsModule.default;

/** An alternative that may be in an optimal plan, and what it costs beyond the layer's cheapest at the price. */
export interface CoreAlternative {
  readonly pick: LayerScore;
  /** loss + price · bytes, minus the layer's minimum of that; ≥ 0. */
  readonly reducedCost: number;
}

/** At least one alternative, by rising bytes. */
export type CoreLayer = readonly CoreAlternative[];

export interface CoreProblem {
  readonly layers: readonly CoreLayer[];
  readonly budgetBytes: number;
  /** λ > 0, loss per byte. */
  readonly price: number;
  /** Loss of the best plan known minus the bound, > 0. */
  readonly gap: number;
}

/**
 * The gap becomes this many units of the objective: far above HiGHS's absolute tolerances (1e-6 and less), so that
 * losses of 1e-9 beside 1e2 are told apart.
 */
const objectiveUnits = 1e3;

/**
 * Branch-and-bound nodes, a count and not a time so that the plan does not depend on the machine. Models of 28 to 300
 * layers needed 0 to 27; losses proportional to bytes would need many thousands, to gain parts in a billion.
 */
const maxNodes = 500;

/**
 * Solves the core.
 *
 *   Σ loss = bound + Σ r·x + λ·unused ,   Σ bytes·x + unused = budget ,   one x per layer
 *
 * Written with reduced costs r and unused bytes, every term of the objective lies between 0 and the gap, whatever the
 * losses themselves; bytes are whole multiples of their greatest common divisor.
 *
 * @returns one pick per layer, or undefined when the solver has no plan or fails. Not checked against the budget.
 */
export async function solveCoreProblem(problem: CoreProblem): Promise<LayerScore[] | undefined> {
  const free = problem.layers.filter((layer) => layer.length > 1);
  if (free.length === 0) return problem.layers.map(([only]) => only.pick);
  const highs = await loadHighs();
  const model = toModel(problem, free);
  const values = highs.withModel(model, (solver) => {
    solver.options.set({
      output_flag: false,
      mip_rel_gap: 0,
      mip_abs_gap: 0,
      mip_feasibility_tolerance: 1e-9,
      primal_feasibility_tolerance: 1e-9,
      mip_max_nodes: maxNodes,
    });
    try {
      solver.run();
    } catch (error) {
      // The caller already holds a plan within `gap` of the optimum; a wrong setup still throws above.
      if (error instanceof highs.errors.HighsError) return undefined;
      throw error;
    }
    const feasible = highs.constants.solutionStatus.feasible;
    const hasPlan = solver.info.get("primal_solution_status") === feasible;
    return hasPlan ? solver.getSolution().colValue : undefined;
  });
  if (!values) return undefined;
  let column = 0;
  return problem.layers.map((layer) => {
    if (layer.length === 1) return layer[0].pick;
    // The chosen column is 1 up to the solver's tolerance; the largest is it.
    const own = values.subarray(column, column + layer.length);
    column += layer.length;
    return layer[own.indexOf(Math.max(...own))].pick;
  });
}

/** Columns: x of each free layer's alternatives, then the unused units. Rows: one pick per free layer, then the bytes. */
function toModel(
  { layers, budgetBytes, price, gap }: CoreProblem,
  free: readonly CoreLayer[],
): ModelData {
  const smallest = layers.reduce((sum, [first]) => sum + first.pick.bytes, 0);
  const unit = free
    .flatMap((layer) => layer.map(({ pick }) => pick.bytes - layer[0].pick.bytes))
    .reduce(greatestCommonDivisor, 0);
  const units = Math.floor((budgetBytes - smallest) / unit);
  const bytesRow = free.length;
  const cost: number[] = [];
  const starts = [0];
  const indices: number[] = [];
  const values: number[] = [];
  for (const [row, layer] of free.entries()) {
    for (const { pick, reducedCost } of layer) {
      cost.push((reducedCost / gap) * objectiveUnits);
      indices.push(row);
      values.push(1);
      const extra = (pick.bytes - layer[0].pick.bytes) / unit;
      if (extra > 0) {
        indices.push(bytesRow);
        values.push(extra);
      }
      starts.push(indices.length);
    }
  }
  const choices = cost.length;
  cost.push(((price * unit) / gap) * objectiveUnits);
  indices.push(bytesRow);
  values.push(1);
  starts.push(indices.length);
  const ofChoices = (value: number) => new Array<number>(choices).fill(value);
  const rowBounds = [...free.map(() => 1), units];
  return {
    numCols: choices + 1,
    numRows: bytesRow + 1,
    colCost: cost,
    colLower: [...ofChoices(0), 0],
    // A plan that leaves more than this unused costs more than the gap and cannot be better than the known one.
    colUpper: [...ofChoices(1), Math.min(units, Math.ceil(gap / (price * unit)) + 1)],
    rowLower: rowBounds,
    rowUpper: rowBounds,
    matrix: { format: "csc", numRows: bytesRow + 1, numCols: choices + 1, starts, indices, values },
    integrality: [...new Array<VariableType>(choices).fill(1), 0],
  };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
