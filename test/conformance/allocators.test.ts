import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { totalBytes, totalLoss } from "../../src/allocate/alternatives.ts";
import { type AllocatorName, allocateBits, allocators } from "../../src/allocate/index.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import type { LayerAlternatives, LayerScore } from "../../src/core/plan.ts";
import { createRandom } from "../../src/core/random.ts";
import { budgetBetween, layersArbitrary, syntheticModel } from "../support/reference-allocation.ts";

/** `ranked` follows the scorer's order and so may lose by a larger budget; written reason for leaving it out. */
const neverWorseWithMore: Readonly<Record<AllocatorName, boolean>> = {
  uniform: true,
  ranked: false,
  knapsack: true,
};

/** Uniform plans may all be larger than the smallest mixed plan; then those built on them must say so. */
const alwaysFeasible: Readonly<Record<AllocatorName, boolean>> = {
  uniform: false,
  ranked: false,
  knapsack: true,
};

const fraction = fc.double({ min: 0, max: 1.1, noNaN: true });

async function tryAllocate(
  layers: readonly LayerAlternatives[],
  budgetBytes: number,
  allocator: AllocatorName,
): Promise<readonly LayerScore[] | undefined> {
  try {
    return await allocateBits({ layers, budgetBytes, allocator });
  } catch (error) {
    if (isBitloomError(error, "infeasible-budget") && error.detail.minBytes > budgetBytes)
      return undefined;
    throw error;
  }
}

function shuffle<T>(items: readonly T[], seed: number): T[] {
  const random = createRandom(seed);
  return items
    .map((item) => ({ item, key: random.next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

describe.each(Object.keys(allocators) as AllocatorName[])("%s", (name) => {
  const allocator = allocators[name];

  test("says what it is", () => {
    expect(allocator.summary.length).toBeGreaterThan(0);
    expect(allocator.summary.length).toBeLessThan(80);
    expect(allocator.source.length).toBeGreaterThan(0);
    expect(allocator.needs).toEqual([]);
  });

  test("gives one alternative per layer in order and never goes over budget", async () => {
    await fc.assert(
      fc.asyncProperty(layersArbitrary, fraction, async (layers, share) => {
        const budgetBytes = budgetBetween(layers, share);
        const picks = await tryAllocate(layers, budgetBytes, name);
        if (!picks) {
          expect(alwaysFeasible[name]).toBe(false);
          return;
        }
        expect(picks.map(({ layer }) => layer)).toEqual(layers.map(({ layer }) => layer));
        for (const [at, pick] of picks.entries()) expect(layers[at].alternatives).toContain(pick);
        expect(totalBytes(picks)).toBeLessThanOrEqual(budgetBytes);
      }),
    );
  });

  test.runIf(neverWorseWithMore[name])("does not lose by a larger budget", async () => {
    await fc.assert(
      fc.asyncProperty(layersArbitrary, fraction, fraction, async (layers, a, b) => {
        const less = await tryAllocate(layers, budgetBetween(layers, Math.min(a, b)), name);
        const more = await tryAllocate(layers, budgetBetween(layers, Math.max(a, b)), name);
        if (!less) return;
        expect(totalLoss(more ?? [])).toBeLessThanOrEqual(totalLoss(less) * (1 + 1e-9));
        expect(more).toBeDefined();
      }),
    );
  });

  test("depends neither on the order of layers nor on that of alternatives", async () => {
    await fc.assert(
      fc.asyncProperty(layersArbitrary, fraction, fc.integer(), async (layers, share, seed) => {
        const budgetBytes = budgetBetween(layers, share);
        const shuffled = shuffle(layers, seed).map((layer) => ({
          ...layer,
          alternatives: shuffle(layer.alternatives, seed),
        }));
        const picks = await tryAllocate(layers, budgetBytes, name);
        const again = await tryAllocate(shuffled, budgetBytes, name);
        const byLayer = new Map(again?.map((pick) => [pick.layer, pick]));
        expect(picks?.map(({ layer }) => byLayer.get(layer))).toEqual(
          picks ? [...picks] : undefined,
        );
      }),
    );
  });

  test("breaks ties between equal layers by their names, not their order", async () => {
    const [model] = syntheticModel(1, 8);
    const layers = ["a", "b", "c", "d", "e"].map((layer) => ({
      ...model,
      layer,
      block: undefined,
      alternatives: model.alternatives.map((alternative) => ({ ...alternative, layer })),
    }));
    for (const share of [0.05, 0.23, 0.41, 0.67]) {
      const budgetBytes = budgetBetween(layers, share);
      const picks = await allocateBits({ layers, budgetBytes, allocator: name });
      for (const seed of [1, 2, 3]) {
        const shuffled = shuffle(layers, seed);
        const again = await allocateBits({ layers: shuffled, budgetBytes, allocator: name });
        const byLayer = new Map(again.map((pick) => [pick.layer, pick]));
        expect(picks.map(({ layer }) => byLayer.get(layer))).toEqual(picks);
      }
    }
  });

  test("gives the same plan twice and leaves its input alone", async () => {
    const layers = syntheticModel(28, 5);
    const before = structuredClone(layers);
    const budgetBytes = budgetBetween(layers, 0.37);
    const once = await allocateBits({ layers, budgetBytes, allocator: name });
    const twice = await allocateBits({ layers, budgetBytes, allocator: name });
    expect(twice).toEqual(once);
    expect(layers).toEqual(before);
  });

  test("handles no layers, and a budget above the largest plan", async () => {
    expect(await allocateBits({ layers: [], budgetBytes: 0, allocator: name })).toEqual([]);
    const layers = syntheticModel(7, 1);
    const picks = await allocateBits({
      layers,
      budgetBytes: Number.POSITIVE_INFINITY,
      allocator: name,
    });
    expect(picks.every(({ format }) => format.bits === 8)).toBe(true);
  });
});

test("on a whole model knapsack beats ranked and uniform, and all use most of the budget", async () => {
  const layers = syntheticModel(28, 3);
  for (const share of [0.2, 0.4, 0.6]) {
    const budgetBytes = budgetBetween(layers, share);
    const [uniform, ranked, knapsack] = await Promise.all(
      (["uniform", "ranked", "knapsack"] as const).map(async (allocator) => {
        const picks = await allocateBits({ layers, budgetBytes, allocator });
        return { loss: totalLoss(picks), bytes: totalBytes(picks) };
      }),
    );
    expect(knapsack.loss).toBeLessThan(uniform.loss);
    expect(knapsack.loss).toBeLessThan(ranked.loss);
    expect(ranked.bytes).toBeGreaterThan(0.9 * budgetBytes);
    expect(knapsack.bytes).toBeGreaterThan(0.99 * budgetBytes);
  }
});
