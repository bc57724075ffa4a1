/**
 * Two widths, whole blocks: the most important blocks get the higher width, the others the lower one (LayerwiseQuant).
 * Not an optimizer: it follows the scorer's ranking. Invariant: layers that offer both formats hold one of the two.
 */
import type { WeightFormat } from "../core/format.ts";
import type { AllocateInput, Allocator } from "../core/method.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { compareText, totalBytes, totalLoss } from "./alternatives.ts";
import {
  nearestAlternative,
  noUniformPlanFits,
  type UniformPlan,
  uniformPlans,
} from "./uniform.ts";

/** Layers that move together: a block of the residual stream, or one layer outside every block. */
interface Group {
  readonly name: string;
  /** Positions in the list of layers. */
  readonly members: readonly number[];
  /** Mean of the members' importance; undefined when no member has one. */
  readonly importance: number | undefined;
}

interface Pair {
  readonly low: WeightFormat;
  readonly high: WeightFormat;
}

/**
 * Allocates two widths by rank.
 *
 * Pairs: for each block size, symmetry and scale type, the widest format whose uniform plan fits the budget and the
 * next wider one. Each pair is filled, the fill with the lowest predicted loss wins (ties: fewest bytes, format ids).
 * Fill: everything at the lower format, then groups by falling importance to the higher one wherever it still fits.
 * Layers that do not offer a format take the nearest one, see `nearestAlternative`.
 * A group without importance (an embedding outside all blocks, a scorer without ranking) is ranked by its predicted
 * loss reduction Σ (loss_low − loss_high), among the others at the place that its reduction has among theirs.
 *
 * Cost: O(F · Σ A) for F formats in all and A alternatives per layer.
 * Source: Dumitru et al. 2024 (arXiv 2406.17415), LIM and ZD with top-k assignment. Differs: the user picks the pair
 *   there, the budget picks it here; bytes are exact instead of counting blocks; a group that does not fit is skipped
 *   and smaller ones still get their turn, where a plain top-k would leave the rest of the budget unused.
 * Throws: infeasible-budget when no uniform plan fits, although a mixed one might.
 */
export const ranked: Allocator = {
  summary: "two widths, the higher one for the most important blocks",
  source: "Dumitru et al. 2024 (LayerwiseQuant, arXiv 2406.17415)",
  needs: [],
  allocate(input) {
    if (input.layers.length === 0) return [];
    const groups = groupLayers(input.layers);
    const fills = bracketingPairs(input).map((pair) => {
      const picks = fillByRank(input, groups, pair);
      return { pair, picks, bytes: totalBytes(picks), loss: totalLoss(picks) };
    });
    if (fills.length === 0) throw noUniformPlanFits(input);
    fills.sort(
      (a, b) =>
        a.loss - b.loss ||
        a.bytes - b.bytes ||
        compareText(a.pair.low.id, b.pair.low.id) ||
        compareText(a.pair.high.id, b.pair.high.id),
    );
    return fills[0].picks;
  },
};

function groupLayers(layers: readonly LayerAlternatives[]): Group[] {
  const blocks = new Map<string, number[]>();
  const groups: { name: string; members: number[] }[] = [];
  for (const [at, { layer, block }] of layers.entries()) {
    const known = block === undefined ? undefined : blocks.get(block);
    if (known) {
      known.push(at);
      continue;
    }
    const group = { name: block ?? layer, members: [at] };
    groups.push(group);
    if (block !== undefined) blocks.set(block, group.members);
  }
  return groups.map(({ name, members }) => {
    const known = members.flatMap((at) => layers[at].importance ?? []);
    const sum = known.reduce((total, importance) => total + importance, 0);
    return { name, members, importance: known.length === 0 ? undefined : sum / known.length };
  });
}

/** One pair per family whose smallest plan fits; low and high are the same when the family has nothing wider. */
function bracketingPairs({ layers, budgetBytes }: AllocateInput): Pair[] {
  const families = new Map<string, UniformPlan[]>();
  for (const plan of uniformPlans(layers)) {
    const { kind, blockSize, symmetric, scaleType } = plan.format;
    const family = `${kind} ${blockSize} ${symmetric} ${scaleType}`;
    families.set(family, [...(families.get(family) ?? []), plan]);
  }
  return [...families.values()].flatMap((family) => {
    const byWidth = [...family].sort((a, b) => a.format.bits - b.format.bits);
    const at = byWidth.findLastIndex(({ bytes }) => bytes <= budgetBytes);
    if (at < 0) return [];
    return [
      { low: byWidth[at].format, high: byWidth[Math.min(at + 1, byWidth.length - 1)].format },
    ];
  });
}

function fillByRank(
  { layers, budgetBytes }: AllocateInput,
  groups: readonly Group[],
  pair: Pair,
): LayerScore[] {
  const low = layers.map((layer) => nearestAlternative(layer, pair.low));
  const high = layers.map((layer) => nearestAlternative(layer, pair.high));
  const picks = [...low];
  let bytes = totalBytes(low);
  for (const { members } of rankGroups(groups, low, high)) {
    const extraBytes = members.reduce((sum, at) => sum + high[at].bytes - low[at].bytes, 0);
    if (bytes + extraBytes > budgetBytes) continue;
    bytes += extraBytes;
    for (const at of members) picks[at] = high[at];
  }
  return picks;
}

/** Groups by falling importance; those without are merged in by loss reduction, ties by name. */
function rankGroups(
  groups: readonly Group[],
  low: readonly LayerScore[],
  high: readonly LayerScore[],
): Group[] {
  const measured = groups.map((group) => ({
    group,
    importance: group.importance,
    reduction: group.members.reduce((sum, at) => sum + low[at].loss - high[at].loss, 0),
  }));
  const withImportance = measured
    .flatMap(({ group, importance, reduction }) =>
      importance === undefined ? [] : [{ group, importance, reduction }],
    )
    .sort(
      (a, b) =>
        b.importance - a.importance ||
        b.reduction - a.reduction ||
        compareText(a.group.name, b.group.name),
    );
  const without = measured.filter(({ importance }) => importance === undefined);
  // Half a place before the first group that it precedes: between two ranks, never equal to one.
  const merged = without.map(({ group, reduction }) => ({
    group,
    reduction,
    place: withImportance.filter((other) => other.reduction > reduction).length - 0.5,
  }));
  return [...withImportance.map((entry, place) => ({ ...entry, place })), ...merged]
    .sort(
      (a, b) =>
        a.place - b.place || b.reduction - a.reduction || compareText(a.group.name, b.group.name),
    )
    .map(({ group }) => group);
}
