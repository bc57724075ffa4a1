import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { totalBytes, totalLoss } from "../../src/allocate/alternatives.ts";
import { solveCoreProblem } from "../../src/allocate/core-problem.ts";
import { allocateBits } from "../../src/allocate/index.ts";
import { knapsack } from "../../src/allocate/knapsack.ts";
import { relax } from "../../src/allocate/relaxation.ts";
import { createRandom } from "../../src/core/random.ts";
import {
  budgetBetween,
  cheapestByBytes,
  cheapestPlan,
  layerOf,
  layersArbitrary,
  syntheticModel,
  widthFormat,
} from "../support/reference-allocation.ts";

const fraction = fc.double({ min: 0, max: 1, noNaN: true });

describe("knapsack", () => {
  test("equals trying every plan", async () => {
    await fc.assert(
      fc.asyncProperty(layersArbitrary, fraction, async (layers, share) => {
        const budgetBytes = budgetBetween(layers, share);
        const picks = await allocateBits({ layers, budgetBytes, allocator: "knapsack" });
        const best = cheapestPlan(layers, budgetBytes) ?? Number.NaN;
        expect(Math.abs(totalLoss(picks) - best)).toBeLessThanOrEqual(1e-9 * best);
      }),
      { numRuns: 300 },
    );
  });

  test("equals dynamic programming where rounding the relaxation is not enough", async () => {
    let improved = 0;
    for (let seed = 0; seed < 20; seed++) {
      const random = createRandom(seed);
      const layers = Array.from({ length: 24 }, (_, at) => ({
        layer: `layer${at}`,
        weights: 1,
        alternatives: [2, 3, 4, 8].map((bits) => ({
          layer: `layer${at}`,
          format: widthFormat(bits),
          bytes: bits * (1 + random.integer(60)),
          loss: 4 ** -bits * Math.exp(6 * random.next()),
        })),
      }));
      const budgetBytes = budgetBetween(layers, 0.4);
      const picks = await knapsack.allocate({ layers, budgetBytes });
      const best = cheapestByBytes(layers, budgetBytes) ?? Number.NaN;
      expect(totalBytes(picks)).toBeLessThanOrEqual(budgetBytes);
      expect(Math.abs(totalLoss(picks) - best)).toBeLessThanOrEqual(1e-9 * best);
      if (totalLoss(relax(layers, budgetBytes).picks) > best * (1 + 1e-9)) improved++;
    }
    expect(improved).toBeGreaterThan(5);
  });

  test("finds what no price per byte reaches", async () => {
    const layer = (name: string) =>
      layerOf(name, [
        ["int2-b32", 0, 10],
        ["int4-b32", 60, 6],
        ["int8-b32", 100, 0],
      ]);
    const picks = await knapsack.allocate({ layers: [layer("a"), layer("b")], budgetBytes: 120 });
    // The hull has no int4; 0 + 100 bytes cost 10, 60 + 60 would cost 12.
    expect(picks.map(({ bytes }) => bytes).sort()).toEqual([0, 100]);
    const tight = await knapsack.allocate({ layers: [layer("a")], budgetBytes: 99 });
    expect(tight.map(({ format }) => format.id)).toEqual(["int4-b32"]);
  });

  test("tells losses of 1e-9 apart beside losses of 1e2, and single bytes beside gigabytes", async () => {
    const layers = [
      layerOf("head", [
        ["int4-b32", 4_000_000_001, 100],
        ["int8-b32", 8_000_000_003, 1],
      ]),
      layerOf("a", [
        ["int4-b32", 11, 3e-9],
        ["int8-b32", 13, 1e-9],
      ]),
      layerOf("b", [
        ["int4-b32", 11, 3.5e-9],
        ["int8-b32", 14, 1e-9],
      ]),
    ];
    const picked = async (budgetBytes: number) =>
      (await knapsack.allocate({ layers, budgetBytes })).map(({ format }) => format.bits).join("");
    expect(await picked(8_000_000_003 + 22)).toBe("844");
    expect(await picked(8_000_000_003 + 24)).toBe("884");
    expect(await picked(8_000_000_003 + 25)).toBe("848");
    expect(await picked(8_000_000_003 + 27)).toBe("888");
    expect(await picked(8_000_000_003 + 21)).toBe("488");
  });

  test("is within its own bound on a model of 300 layers", async () => {
    const layers = syntheticModel(300, 9);
    const budgetBytes = budgetBetween(layers, 0.35);
    const { picks: rounded, price } = relax(layers, budgetBytes);
    const picks = await knapsack.allocate({ layers, budgetBytes });
    const bound =
      layers.reduce(
        (sum, { alternatives }) =>
          sum + Math.min(...alternatives.map((a) => a.loss + price * a.bytes)),
        0,
      ) -
      price * budgetBytes;
    expect(totalBytes(picks)).toBeLessThanOrEqual(budgetBytes);
    expect(totalLoss(picks)).toBeLessThanOrEqual(totalLoss(rounded));
    expect(totalLoss(picks)).toBeGreaterThanOrEqual(bound * (1 - 1e-12));
    expect(totalLoss(picks)).toBeLessThanOrEqual(bound * 1.001);
  });
});

describe("solveCoreProblem", () => {
  test("answers without a solver when nothing is left to choose", async () => {
    const [pick] = layerOf("a", [["int4-b32", 4, 1]]).alternatives;
    const layers = [[{ pick, reducedCost: 0 }]];
    expect(await solveCoreProblem({ layers, budgetBytes: 4, price: 1, gap: 1 })).toEqual([pick]);
  });

  test("gives no plan when none fits", async () => {
    const [small, large] = layerOf("a", [
      ["int4-b32", 4, 1],
      ["int8-b32", 8, 0],
    ]).alternatives;
    const layers = [
      [
        { pick: small, reducedCost: 0 },
        { pick: large, reducedCost: 1 },
      ],
    ];
    expect(await solveCoreProblem({ layers, budgetBytes: -4, price: 1, gap: 1 })).toBeUndefined();
  });
});

test("the solver prints nothing and lets the process end", () => {
  const code = `
    import loadHighs from "highs";
    const highs = await loadHighs();
    highs.withModel({ format: "lp", data: "Minimize\\n a\\nSubject To\\n c: a >= 1\\nEnd" }, (solver) => {
      solver.options.set({ output_flag: false });
      solver.run();
    });
  `;
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(output).toBe("");
});
