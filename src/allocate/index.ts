/**
 * Allocation: chooses one format per layer inside a budget of bytes.
 * Not here: where losses come from (`score/`). Invariant: the result is within the budget and in the order of the
 * layers, and depends on neither the order of layers nor that of their alternatives.
 */
import { BitloomError, invariant } from "../core/errors.ts";
import type { Allocator } from "../core/method.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { compareBySize, compareText, totalBytes } from "./alternatives.ts";
import { checkBudget, checkFeasible, checkLayers } from "./check-input.ts";
import { knapsack } from "./knapsack.ts";
import { ranked } from "./ranked.ts";
import { uniform } from "./uniform.ts";

export type { AllocateInput, Allocator } from "../core/method.ts";
export {
  type Budget,
  type BudgetBasis,
  budgetToBytes,
  formatBytes,
  parseBudget,
} from "./budget.ts";
export { checkFeasible } from "./check-input.ts";
export {
  applyConstraints,
  type Constraints,
  formatsFor,
  matchesPattern,
  type Pin,
  parsePin,
  pinnedFormats,
} from "./constraints.ts";
export {
  type FrontierPoint,
  marginalPrice,
  paretoFrontier,
  type UpgradePrice,
} from "./pareto.ts";
export { type PlanOrigin, parsePlan, picksFromPlan, serializePlan, toPlan } from "./plan.ts";
export { bestUniformPlan, type UniformPlan, uniformPlans } from "./uniform.ts";

/** The built-in allocators; a key is the name on the command line and of the file. */
export const allocators = { uniform, ranked, knapsack } satisfies Record<string, Allocator>;

export type AllocatorName = keyof typeof allocators;

export interface AllocateOptions {
  readonly layers: readonly LayerAlternatives[];
  /** Whole bytes for all layers together. */
  readonly budgetBytes: number;
  /** A registered name, or an object of your own. */
  readonly allocator: AllocatorName | Allocator;
}

/**
 * Chooses one alternative per layer with Σ bytes ≤ budget.
 *
 * @returns one pick per layer, in the order of `layers`. A budget above the largest plan is simply not used up.
 *
 * Throws: infeasible-budget when the smallest alternatives together are over the budget (or, for `uniform` and
 *   `ranked`, when no uniform plan fits); bad-option for a layer without alternatives, a layer or format that comes
 *   twice, an unknown allocator, an unusable budget, or an own allocator that breaks its contract; numeric for a loss
 *   that is negative or not finite.
 */
export async function allocateBits(options: AllocateOptions): Promise<readonly LayerScore[]> {
  const { layers, budgetBytes, allocator } = options;
  const chosen = resolveAllocator(allocator);
  checkBudget(budgetBytes);
  checkLayers(layers);
  checkFeasible(layers, budgetBytes);
  // One order for all inputs: sums round and ties break the same way, so the plan cannot depend on the caller's order.
  const order = [...layers.keys()].sort((a, b) => compareText(layers[a].layer, layers[b].layer));
  const sorted = order.map((at) => ({
    ...layers[at],
    alternatives: [...layers[at].alternatives].sort(compareBySize),
  }));
  const picks = await chosen.allocate({ layers: sorted, budgetBytes });
  const fault = findFault(sorted, picks, budgetBytes);
  if (fault !== undefined) {
    invariant(typeof allocator !== "string", `allocator "${String(allocator)}": ${fault}`);
    throw new BitloomError(
      "bad-option",
      `The allocator broke its contract: ${fault}. Correct its allocate().`,
      {
        option: "allocator",
      },
    );
  }
  const inOrder = new Array<LayerScore>(layers.length);
  for (const [at, original] of order.entries()) inOrder[original] = picks[at];
  return inOrder;
}

function resolveAllocator(allocator: AllocatorName | Allocator): Allocator {
  if (typeof allocator !== "string") return allocator;
  if (Object.hasOwn(allocators, allocator)) return allocators[allocator];
  throw new BitloomError(
    "bad-option",
    `Unknown allocator "${String(allocator)}": expected ${Object.keys(allocators).join(", ")}.`,
    { option: "allocator", got: String(allocator) },
  );
}

function findFault(
  layers: readonly LayerAlternatives[],
  picks: readonly LayerScore[],
  budgetBytes: number,
): string | undefined {
  if (picks.length !== layers.length) return `${picks.length} picks for ${layers.length} layers`;
  const stranger = layers.find(({ alternatives }, at) => !alternatives.includes(picks[at]));
  if (stranger) return `the pick for layer "${stranger.layer}" is none of its alternatives`;
  const bytes = totalBytes(picks);
  return bytes > budgetBytes
    ? `${bytes} bytes picked, over the budget of ${budgetBytes}`
    : undefined;
}
