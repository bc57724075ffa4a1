/**
 * Published and recorded figures, reproduced: uniform widths on stories260k in the protocol of its README, and mixed
 * against uniform bits at equal bytes on the embedded model.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import {
  allocateBits,
  lossOf,
  openLab,
  parseFormats,
  parsePin,
  type QuantizeOptions,
  quantize,
  uniformPlans,
} from "../../src/index.ts";

const stories = fileURLToPath(new URL("../../../shared/models/stories260k", import.meta.url));
const tiny = fileURLToPath(new URL("../../calibration/tiny-lm", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "bitloom-figures-"));
afterAll(() => rm(folder, { recursive: true }));

if (!existsSync(stories)) console.log("stories260k is not here: its figures are skipped");

describe.skipIf(!existsSync(stories))(
  "stories260k, blocks of 32, asymmetric, head in float",
  () => {
    /** Perplexity of all block matrices at one width; halves of the text by characters, 64 and 120 windows of 256. */
    async function perplexity(
      bits: number,
      quantizer: "rtn" | "gptq",
      grid: "mse" | "min-max",
      propagation: Pick<QuantizeOptions, "sequential" | "correction" | "correctionDamping"> = {
        sequential: false,
      },
    ) {
      const text = await readFile(join(stories, "text.txt"), "utf8");
      const half = Math.floor(text.length / 2);
      const [calibration, evaluate] = ["first.txt", "second.txt"].map((name) => join(folder, name));
      await writeFile(calibration, text.slice(0, half));
      await writeFile(evaluate, text.slice(half));
      const { report } = await quantize(join(stories, "model.onnx"), {
        output: join(folder, `${bits}-${quantizer}-${grid}.onnx`),
        budget: "32bpw",
        calibration,
        evaluate,
        window: 256,
        rows: 64,
        evaluateRows: 120,
        scorer: "weight-error",
        allocator: "uniform",
        quantizer,
        grid,
        formats: parseFormats(`int${bits}-b32-asym`),
        pins: [parsePin("/model/embed_tokens/Gather=float32")],
        force: true,
        ...propagation,
      });
      if (report.quality.kind !== "language") throw new Error("no language model");
      return report.quality.perplexity;
    }

    test("plain min–max round-to-nearest gives 7.24 and 12.3 at 4 and 3 bits, float 6.62", async () => {
      const four = await perplexity(4, "rtn", "min-max");
      expect(four.float).toBeCloseTo(6.62, 2);
      expect(four.quantized).toBeCloseTo(7.24, 1.7);
      expect((await perplexity(3, "rtn", "min-max")).quantized).toBeCloseTo(12.3, 1);
    });

    test("clip search: round-to-nearest at most 7.25 and 10.5 at 4 and 3 bits", async () => {
      expect((await perplexity(4, "rtn", "mse")).quantized).toBeLessThan(7.25);
      expect((await perplexity(3, "rtn", "mse")).quantized).toBeLessThan(10.5);
    });

    test("clip search: one-shot GPTQ at most 7.05 and 9.1 at 4 and 3 bits", async () => {
      expect((await perplexity(4, "gptq", "mse")).quantized).toBeLessThan(7.05);
      expect((await perplexity(3, "gptq", "mse")).quantized).toBeLessThan(9.1);
    });

    test("GPTQ with QEP, min–max: near 6.95, 8.77 and 37.6 at 4, 3 and 2 bits", async () => {
      const qep = { correction: "qep", correctionDamping: 0.01 } as const;
      expect((await perplexity(4, "gptq", "min-max", qep)).quantized).toBeLessThan(7.05);
      expect((await perplexity(3, "gptq", "min-max", qep)).quantized).toBeLessThan(8.8);
      expect((await perplexity(2, "gptq", "min-max", qep)).quantized).toBeLessThan(42);
    });

    test("GPTQ with auto, clip search: at most 6.9, 8.45 and 25 at 4, 3 and 2 bits", async () => {
      const auto = { correction: "auto" } as const;
      expect((await perplexity(4, "gptq", "mse", auto)).quantized).toBeLessThan(6.9);
      expect((await perplexity(3, "gptq", "mse", auto)).quantized).toBeLessThan(8.45);
      expect((await perplexity(2, "gptq", "mse", auto)).quantized).toBeLessThan(25);
    });
  },
);

test("tiny-lm: measured KL + knapsack beats uniform 2, 3 and 4 bits at their own bytes", async () => {
  const lab = await openLab(join(tiny, "model.onnx"), {
    calibration: join(tiny, "calibration.txt"),
    evaluate: join(tiny, "evaluation.txt"),
    rows: 24,
    evaluateRows: 16,
    // Blocks of 128 at 2 bits are what a plan can save on: without them uniform 2 bits is the only plan of its size.
    formats: parseFormats("int2-b128,int2-b32,int3-b32,int4-b32,int5-b32,int6-b32"),
  });
  try {
    const layers = await lab.score("measured-kl");
    for (const bits of [2, 3, 4]) {
      const uniform = uniformPlans(layers).find(({ format }) => format.id === `int${bits}-b32`);
      if (!uniform) throw new Error(`no uniform plan of ${bits} bits`);
      const budgetBytes = uniform.bytes;
      const picks = await allocateBits({ layers, budgetBytes, allocator: "knapsack" });
      const [mixed, plain] = await lab.evaluate([picks, uniform.picks]);
      expect(lossOf(mixed)).toBeLessThan(0.9 * lossOf(plain));
    }
  } finally {
    await lab.close();
  }
});
