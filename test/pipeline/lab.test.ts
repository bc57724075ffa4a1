/** Experiments give what the pipeline gives, and comparisons pair what belongs together. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  allocateBits,
  isBitloomError,
  type Lab,
  type LanguageQuality,
  type LayerScore,
  openLab,
  pairedDifference,
  parseFormats,
  type Quality,
  quantize,
} from "../../src/index.ts";

const tiny = fileURLToPath(new URL("../../calibration/tiny-lm", import.meta.url));
const model = join(tiny, "model.onnx");
const options = {
  calibration: join(tiny, "calibration.txt"),
  evaluate: join(tiny, "evaluation.txt"),
  rows: 6,
  evaluateRows: 6,
  window: 64,
  formats: parseFormats("int3-b32"),
};
let folder: string;
let lab: Lab;
let picks: readonly LayerScore[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-lab-"));
  lab = await openLab(model, options);
  const layers = await lab.score("weight-error");
  const budgetBytes = Number.MAX_SAFE_INTEGER;
  picks = await allocateBits({ layers, budgetBytes, allocator: "uniform" });
}, 60_000);
afterAll(async () => {
  await lab.close();
  await rm(folder, { recursive: true });
});

const language = (quality: Quality): LanguageQuality => {
  if (quality.kind !== "language") throw new Error("no language model");
  return quality;
};

test("a plan quantized in order has the quality that the pipeline reports", async () => {
  const correction = { correction: "qep", correctionAlpha: 0.5, correctionDamping: 0.1 } as const;
  const [own, plain] = (
    await lab.evaluateSequential([
      { picks, ...correction },
      { picks, correction: "none" },
    ])
  ).map(language);
  const { report } = await quantize(model, {
    ...options,
    ...correction,
    output: join(folder, "out.onnx"),
    budget: "32bpw",
    scorer: "weight-error",
    allocator: "uniform",
  });
  expect(report.propagation?.written).toBe("sequential");
  if (report.quality.kind !== "language") throw new Error("no language model");
  expect(own.perplexity.quantized.value).toBeCloseTo(report.quality.perplexity.quantized, 9);
  expect(plain.perplexity.quantized.value).not.toBe(own.perplexity.quantized.value);
}, 120_000);

test("paired differences: of the means, with an interval that common windows cancel out of", async () => {
  const [first, second] = (
    await lab.evaluate([picks, picks.map((pick, i) => (i === 0 ? finer(pick) : pick))])
  ).map(language);
  const { value, low, high } = pairedDifference(second, first, "nll");
  expect(value).toBeCloseTo(second.nllIncrease.value - first.nllIncrease.value, 9);
  expect(high - low).toBeLessThan(second.nllIncrease.high - second.nllIncrease.low);
  expect(pairedDifference(second, first, "kl").value).toBeCloseTo(
    second.klDivergence.value - first.klDivergence.value,
    9,
  );
  expect(pairedDifference(first, first, "nll")).toEqual({ value: 0, low: 0, high: 0 });
  const { perWindow } = first;
  const shorter = { ...first, perWindow: { ...perWindow, tokens: perWindow.tokens.slice(1) } };
  expect(() => pairedDifference(second, shorter, "nll")).toThrow(/same windows/);
  try {
    pairedDifference(second, shorter, "kl");
  } catch (error) {
    expect(isBitloomError(error, "bad-option")).toBe(true);
  }
}, 60_000);

/** The first layer in six bits. */
const finer = (pick: LayerScore): LayerScore => ({
  ...pick,
  format: parseFormats("int6-b32")[0],
});
