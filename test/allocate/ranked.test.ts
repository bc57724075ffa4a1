import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ranked } from "../../src/allocate/ranked.ts";
import type { LayerAlternatives } from "../../src/core/plan.ts";
import { budgetBetween, layerOf, syntheticModel } from "../support/reference-allocation.ts";

const rows = [
  ["int2-b32", 20, 4],
  ["int4-b32", 40, 2],
  ["int8-b32", 80, 1],
] as const;

async function formats(layers: readonly LayerAlternatives[], budgetBytes: number): Promise<string> {
  const picks = await ranked.allocate({ layers, budgetBytes });
  return picks.map(({ format }) => format.bits).join("");
}

describe("ranked", () => {
  const layers = [0.1, 0.9, 0.5, 0.3].map((importance, at) =>
    layerOf(`l${at}`, rows, { importance }),
  );

  test("gives the higher of the two widths around the budget to the most important layers", async () => {
    expect(await formats(layers, 80)).toBe("2222");
    expect(await formats(layers, 100)).toBe("2422");
    expect(await formats(layers, 139)).toBe("2442");
    expect(await formats(layers, 160)).toBe("4444");
    expect(await formats(layers, 200)).toBe("4844");
    expect(await formats(layers, 1000)).toBe("8888");
  });

  test("moves whole blocks and goes on after one that does not fit", async () => {
    const blocks = [
      layerOf("a0", rows, { block: "a", importance: 0.9 }),
      layerOf("b0", rows, { block: "b", importance: 0.5 }),
      layerOf("a1", rows, { block: "a", importance: 0.9 }),
      layerOf("c", rows, { importance: 0.1 }),
    ];
    expect(await formats(blocks, 120)).toBe("4242");
    expect(await formats(blocks, 119)).toBe("2422");
    expect(await formats(blocks, 159)).toBe("4442");
  });

  test("ranks by predicted loss reduction where there is no importance", async () => {
    const steep = [
      ["int2-b32", 20, 9],
      ["int4-b32", 40, 1],
    ] as const;
    const flat = [
      ["int2-b32", 20, 4],
      ["int4-b32", 40, 3],
    ] as const;
    expect(await formats([layerOf("flat", flat), layerOf("steep", steep)], 60)).toBe("24");
    // Merged in: the steep layer goes before the known layers that it beats, however important they are.
    const known = [
      layerOf("x", flat, { importance: 0.2 }),
      layerOf("y", flat, { importance: 0.8 }),
    ];
    expect(await formats([...known, layerOf("steep", steep)], 80)).toBe("224");
    expect(await formats([...known, layerOf("steep", steep)], 100)).toBe("244");
    expect(
      await formats(
        [
          ...known,
          layerOf("z", [
            ["int2-b32", 20, 4],
            ["int4-b32", 40, 3.5],
          ]),
        ],
        100,
      ),
    ).toBe("442");
  });

  test("takes the nearest width where a layer does not offer one, and leaves pinned layers alone", async () => {
    const mixed = [...layers, layerOf("only8", [["int8-b32", 80, 1]])];
    expect(await formats(mixed, 80 + 100)).toBe("24228");
  });

  test("chooses among block sizes by predicted loss", async () => {
    const better = [
      ["int2-b64", 18, 4],
      ["int4-b64", 38, 0.1],
    ] as const;
    const both = ["a", "b"].map((name) => layerOf(name, [...rows, ...better]));
    const picks = await ranked.allocate({ layers: both, budgetBytes: 60 });
    expect(picks.map(({ format }) => format.id)).toEqual(["int4-b64", "int2-b64"]);
  });

  test("uses at most two widths, neighbours of one family, wherever all layers offer all formats", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 99 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        async (seed, share) => {
          const model = syntheticModel(14, seed);
          const picks = await ranked.allocate({
            layers: model,
            budgetBytes: budgetBetween(model, share),
          });
          const widths = [...new Set(picks.map(({ format }) => format.bits))].sort((a, b) => a - b);
          const families = new Set(
            picks.map(({ format }) => `${format.blockSize} ${format.symmetric}`),
          );
          expect(families.size).toBe(1);
          const ladder = [2, 3, 4, 5, 6, 8];
          expect(widths.length).toBeLessThanOrEqual(2);
          if (widths.length === 2)
            expect(ladder.indexOf(widths[1]) - ladder.indexOf(widths[0])).toBe(1);
          for (const block of ["block0", "block1"]) {
            const own = picks.filter((_, at) => model[at].block === block);
            expect(new Set(own.map(({ format }) => format.bits)).size).toBe(1);
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
