/**
 * Time and peak memory of a whole `quantize` run, stage by stage, on a generated Llama-shaped model with random
 * weights and real text; then one large layer alone (`one-layer.ts`).
 *
 *   npm run bench:pipeline -- [--size 135M|1090M|1100M] [--model FILE --tokenizer FILE --text FILE] [--rows 64] [--window 512]
 *     [--budget 3.5bpw] [--correction qep] [--quantizer gptq] [--scorer hessian-trace-local]
 *     [--layer 4096] [--formats …] [--results FILE]
 *
 * Of random weights every layer is as important as any other, so uniform bits would win: the formats on offer leave out
 * 3 bits, and the budget lies between the others. Memory is that of this process: the most it ever held, by stage.
 */
import { spawnSync } from "node:child_process";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type CorrectionName,
  corrections,
  parseFormat,
  type QuantizerName,
  quantize,
  quantizers,
  type ScorerName,
  scorers,
} from "../src/index.ts";
import { choice, count, file, readArguments, text } from "./harness/arguments.ts";
import { projectFolder } from "./harness/environment.ts";
import { rounded } from "./harness/figures.ts";
import { openResults } from "./harness/results.ts";
import { openScratch } from "./harness/scratch.ts";
import { sizes } from "./pipeline/sizes.ts";

const embedded = (name: string) => join(projectFolder, "calibration", "tiny-lm", name);
const keysOf = <N extends string>(registry: Readonly<Record<N, unknown>>) =>
  Object.keys(registry) as N[];
const { values: args } = readArguments("bench:pipeline", {
  size: choice("size of the generated model", keysOf(sizes), "135M"),
  model: file("a model instead of a generated one"),
  tokenizer: file("its tokenizer.json", embedded("tokenizer.json")),
  text: file("text to calibrate and evaluate on", embedded("calibration.txt")),
  rows: count("windows to calibrate on", 64),
  "evaluate-rows": count("windows to evaluate on", 16),
  window: count("tokens per window", 512),
  budget: text("as for the command", "3.5bpw"),
  formats: text("formats on offer", "int2-b64,int4-b32,int6-b32"),
  scorer: choice("", keysOf<ScorerName>(scorers), "hessian-trace-local"),
  quantizer: choice("", keysOf<QuantizerName>(quantizers), "gptq"),
  correction: choice("", keysOf<CorrectionName>(corrections), "qep"),
  "memory-limit": count("MiB of weights that are open at once", 512),
  threads: count("worker threads", 2),
  layer: count("width of the layer that is quantized alone; 0 for none", 4096, 0),
  results: file("results are added to this file"),
});

const folder = openScratch().path;
const model = args.model ?? generated(args.size);
const peakMb = () => Math.round((process.resourceUsage().maxRSS * 1024) / 1e6);
const stages: { stage: string; seconds: number; peakMb: number }[] = [];
let open = { stage: "start", at: performance.now() };
const close = () => {
  const seconds = (performance.now() - open.at) / 1000;
  stages.push({ stage: open.stage, seconds, peakMb: peakMb() });
  const { stage } = open;
  console.log(
    `${stage.padEnd(12)} ${seconds.toFixed(1).padStart(8)} s   peak so far ${peakMb()} MB`,
  );
};
const begin = performance.now();
const { report } = await quantize(model, {
  output: join(folder, "quantized.onnx"),
  calibration: args.text,
  tokenizer: args.tokenizer,
  rows: args.rows,
  evaluateRows: args["evaluate-rows"],
  window: args.window,
  budget: args.budget,
  formats: args.formats.split(",").map(parseFormat),
  scorer: args.scorer,
  quantizer: args.quantizer,
  correction: args.correction,
  memoryLimitBytes: 2 ** 20 * args["memory-limit"],
  threads: args.threads,
  onEvent(event) {
    if (event.type === "notice") console.log(`note: ${event.notice.message}`);
    if (event.type !== "stage") return;
    close();
    open = { stage: event.stage, at: performance.now() };
  },
});
close();
const minutes = (performance.now() - begin) / 60_000;
const widths = new Map<string, number>();
for (const { format } of report.layers) widths.set(format, (widths.get(format) ?? 0) + 1);
console.log(`whole        ${minutes.toFixed(2).padStart(8)} min  peak ${peakMb()} MB`);
console.log(`formats: ${[...widths].map(([format, count]) => `${count} × ${format}`).join(", ")}`);
if (args.results) {
  const { write } = openResults("pipeline", args.results, { append: true });
  const { scorer, quantizer, correction, budget, formats, threads, rows, window } = args;
  const { weights, floatWeightBytes, bitsPerWeight, options, propagation } = report;
  const key = {
    model: args.model ? basename(args.model) : args.size,
    ...{ scorer, quantizer, correction, budget, formats, threads, rows, window },
    memoryLimitMb: args["memory-limit"],
  };
  for (const { stage, seconds, peakMb } of stages) {
    write({ key: { ...key, stage }, figures: { seconds: rounded(seconds), peakMb } });
  }
  write({
    key: { ...key, stage: "whole" },
    figures: { seconds: rounded(60 * minutes), peakMb: peakMb() },
    details: {
      ...{ weights, floatWeightBytes, bitsPerWeight, options },
      formats: Object.fromEntries(widths),
      propagation: propagation && { ...propagation, layers: undefined },
    },
  });
}

if (args.layer > 0) {
  const results = args.results ? ["--results", args.results] : [];
  runScript("./one-layer.js", ["--size", `${args.layer}`, ...results]);
}

function generated(size: string): string {
  const path = join(folder, "model.onnx");
  runScript("./pipeline/generate.js", [size, path]);
  return path;
}

/** In a process of its own, so that its memory is not counted. */
function runScript(script: string, parameters: readonly string[]): void {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { status } = spawnSync(process.execPath, [path, ...parameters], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
}
