/**
 * Every scorer with every allocator at every budget, and how well the scores predict the loss of single layers.
 */
import {
  type AllocatorName,
  allocateBits,
  isBitloomError,
  type LayerAlternatives,
  type ScorerName,
  spearman,
  uniformPlans,
} from "../../src/index.ts";
import { rounded } from "../harness/figures.ts";
import type { Measurement } from "../harness/results.ts";
import type { Budget } from "./budgets.ts";
import type { Entry } from "./entry.ts";
import type { Bench } from "./measure.ts";
import { bytesOf, type Plan, type Propagation, planId } from "./plan.ts";

export type Scores = ReadonlyMap<ScorerName, readonly LayerAlternatives[]>;

/** Scores of the default quantizer; scorers that are not defined on this model are left out, with a word. */
export async function scoreAll(bench: Bench, scorers: readonly ScorerName[]): Promise<Scores> {
  const scored = new Map<ScorerName, readonly LayerAlternatives[]>();
  for (const scorer of scorers) {
    try {
      scored.set(scorer, await bench.scores("gptq", scorer));
    } catch (error) {
      if (!isBitloomError(error, "unsupported")) throw error;
      bench.progress.note(`without ${scorer}: ${(error as Error).message}`);
    }
  }
  return scored;
}

export async function measureMixed(
  bench: Bench,
  scored: Scores,
  options: {
    readonly allocators: readonly AllocatorName[];
    readonly budgets: readonly Budget[];
    /** How layers are rounded at a budget. */
    readonly propagationsAt: (bits: number) => readonly Propagation[];
  },
): Promise<Entry[]> {
  const { allocators, propagationsAt, budgets } = options;
  const wanted: { readonly plan: Plan; readonly key: Entry["key"]; readonly budget: Budget }[] = [];
  for (const budget of budgets) {
    for (const [scorer, layers] of scored) {
      for (const allocator of allocators) {
        const picks = await allocateBits({ layers, budgetBytes: budget.bytes, allocator });
        for (const propagation of propagationsAt(budget.bits)) {
          const key = { kind: "mixed", scorer, allocator, propagation, bits: budget.bits };
          wanted.push({ plan: { quantizer: "gptq", propagation, picks }, key, budget });
        }
      }
    }
  }
  const qualities = await bench.measure(wanted.map(({ plan }) => plan));
  return wanted.map(({ plan, key, budget }, at) => ({
    key,
    bytes: bytesOf(plan.picks),
    quality: qualities[at],
    details: { plan: planId(plan), budgetBytes: budget.bytes },
  }));
}

/** Rank correlation of every score with the measured loss of single layers, all at one format. */
export async function measureRanks(
  bench: Bench,
  scored: Scores,
  formats: readonly string[],
): Promise<Measurement[]> {
  const plans = uniformPlans([...scored.values()][0]);
  const measurements: Measurement[] = [];
  for (const format of formats) {
    const picks = plans.find((plan) => plan.format.id === format)?.picks ?? [];
    const truth = await bench.journal.remember(`alone ${format}`, async () => {
      const lab = await bench.lab("gptq");
      return Object.fromEntries(await lab.measureAlone(picks));
    });
    for (const [scorer, layers] of scored) {
      const losses = picks.map((pick) => {
        const entry = layers.find(({ layer }) => layer === pick.layer);
        return entry?.alternatives.find((one) => one.format.id === pick.format.id)?.loss ?? 0;
      });
      const measured = picks.map(({ layer }) => truth[layer] ?? 0);
      measurements.push({
        key: { kind: "ranks", scorer, bits: picks[0].format.bits },
        figures: { rankCorrelation: rounded(spearman(losses, measured)) },
        details: { format },
      });
    }
  }
  return measurements;
}
