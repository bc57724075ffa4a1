/**
 * Quality against bytes: every registered scorer with every registered allocator, at the exact bytes of the best
 * uniform plan of each width, and the rank correlation of every score with the measured loss.
 *
 *   npm run bench:quality -- [--model M --tokenizer T --text F --evaluate F --bits 2,3,4 --results FILE]
 *
 * The best uniform plan is the one that is best on the evaluation data itself, which favours it. One JSON line per
 * measurement goes to the results file; tables go to stdout.
 */
import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  type AllocatorName,
  allocateBits,
  allocators,
  type Lab,
  type LayerAlternatives,
  type LayerScore,
  lossOf,
  openLab,
  type Quality,
  type ScorerName,
  scorers,
  spearman,
  type UniformPlan,
  uniformPlans,
  version,
} from "../src/index.ts";

const root = new URL("../..", import.meta.url);
const embedded = (file: string) => fileURLToPath(new URL(`calibration/tiny-lm/${file}`, root));

const { values: args } = parseArgs({
  options: {
    model: { type: "string", default: embedded("model.onnx") },
    tokenizer: { type: "string" },
    text: { type: "string", default: embedded("calibration.txt") },
    evaluate: { type: "string" },
    bits: { type: "string", default: "2,3,4" },
    quantizer: { type: "string", default: "gptq" },
    rows: { type: "string", default: "64" },
    "evaluate-rows": { type: "string", default: "120" },
    name: { type: "string", default: "tiny-lm" },
    results: { type: "string" },
  },
});
const evaluation =
  args.evaluate ?? (args.model === embedded("model.onnx") ? embedded("evaluation.txt") : undefined);
const results =
  args.results ?? fileURLToPath(new URL(`benchmarks/results/quality-${args.name}.jsonl`, root));

mkdirSync(dirname(results), { recursive: true });
rmSync(results, { force: true });
const record = (entry: object) => {
  const machine = { node: process.version, cpu: cpus()[0].model, bitloom: version };
  appendFileSync(results, `${JSON.stringify({ model: args.name, ...entry, ...machine })}\n`);
};

const lab = await openLab(args.model, {
  calibration: args.text,
  evaluate: evaluation,
  tokenizer: args.tokenizer,
  window: 256,
  rows: Number(args.rows),
  evaluateRows: Number(args["evaluate-rows"]),
  quantizer: args.quantizer as "gptq",
});
try {
  const scored = new Map<ScorerName, readonly LayerAlternatives[]>();
  for (const scorer of Object.keys(scorers) as ScorerName[]) {
    const start = performance.now();
    scored.set(scorer, await lab.score(scorer));
    console.error(`scored with ${scorer}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
  for (const bits of args.bits.split(",").map(Number)) {
    const base = await bestUniform(lab, bits, [...scored.values()][0]);
    await comparePlans(lab, scored, bits, base);
    await compareRanks(lab, scored, bits, base.plan);
  }
  console.log(`\nresults: ${results}`);
} finally {
  await lab.close();
}

interface Base {
  readonly plan: UniformPlan;
  readonly quality: Quality;
}

/** The uniform plan of a width with the smallest measured loss on the evaluation data. */
async function bestUniform(
  from: Lab,
  bits: number,
  layers: readonly LayerAlternatives[],
): Promise<Base> {
  const plans = uniformPlans(layers).filter(({ format }) => format.bits === bits);
  const qualities = await from.evaluate(plans.map(({ picks }) => picks));
  console.log(`\n${args.name}: uniform plans of ${bits} bits, ${args.quantizer}\n`);
  console.log("| format | bytes | bits per weight | quality |\n| --- | --: | --: | --- |");
  plans.forEach(({ format, bytes }, i) => {
    console.log(
      `| ${format.id} | ${bytes} | ${((8 * bytes) / from.weights).toFixed(3)} | ${describe(qualities[i])} |`,
    );
    record({ bits, plan: "uniform", format: format.id, bytes, ...numbers(qualities[i]) });
  });
  const losses = qualities.map(lossOf);
  const best = losses.indexOf(Math.min(...losses));
  return { plan: plans[best], quality: qualities[best] };
}

async function comparePlans(
  from: Lab,
  scored: ReadonlyMap<ScorerName, readonly LayerAlternatives[]>,
  bits: number,
  base: Base,
): Promise<void> {
  const entries: { scorer: string; allocator: string; picks: readonly LayerScore[] }[] = [];
  for (const [scorer, layers] of scored) {
    for (const allocator of Object.keys(allocators) as AllocatorName[]) {
      const picks = await allocateBits({ layers, budgetBytes: base.plan.bytes, allocator });
      entries.push({ scorer, allocator, picks });
    }
  }
  const qualities = await from.evaluate(entries.map(({ picks }) => picks));
  console.log(`\nat the ${base.plan.bytes} bytes of uniform ${base.plan.format.id}\n`);
  console.log(
    "| scorer | allocator | bytes | quality | loss against uniform |\n| --- | --- | --: | --- | --: |",
  );
  entries.forEach(({ scorer, allocator, picks }, i) => {
    const bytes = picks.reduce((sum, pick) => sum + pick.bytes, 0);
    const ratio = lossOf(qualities[i]) / lossOf(base.quality);
    console.log(
      `| ${scorer} | ${allocator} | ${bytes} | ${describe(qualities[i])} | ${ratio.toFixed(2)} |`,
    );
    record({ bits, plan: "mixed", scorer, allocator, bytes, ratio, ...numbers(qualities[i]) });
  });
}

async function compareRanks(
  from: Lab,
  scored: ReadonlyMap<ScorerName, readonly LayerAlternatives[]>,
  bits: number,
  { format, picks }: UniformPlan,
): Promise<void> {
  const measured = await from.measureAlone(picks);
  const truth = picks.map(({ layer }) => measured.get(layer) ?? 0);
  console.log(`\nrank correlation with the measured loss of single layers, ${format.id}\n`);
  console.log("| scorer | Spearman |\n| --- | --: |");
  for (const [scorer, layers] of scored) {
    const losses = picks.map((pick) => {
      const entry = layers.find(({ layer }) => layer === pick.layer);
      return entry?.alternatives.find((choice) => choice.format.id === pick.format.id)?.loss ?? 0;
    });
    const correlation = spearman(losses, truth);
    console.log(`| ${scorer} | ${correlation.toFixed(2)} |`);
    record({ bits, format: format.id, scorer, spearman: correlation });
  }
}

function numbers(quality: Quality): object {
  if (quality.kind === "outputs") return { loss: lossOf(quality) };
  const { perplexity, klDivergence, topAgreement } = quality;
  return {
    perplexity: perplexity.quantized.value,
    floatPerplexity: perplexity.float.value,
    klDivergence: klDivergence.value,
    topAgreement: topAgreement.value,
  };
}

function describe(quality: Quality): string {
  if (quality.kind === "outputs") return `relative error ${lossOf(quality).toExponential(2)}`;
  const { perplexity, klDivergence } = quality;
  return `perplexity ${perplexity.quantized.value.toFixed(2)}, KL ${klDivergence.value.toFixed(4)}`;
}
