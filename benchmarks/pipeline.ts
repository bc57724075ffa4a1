/**
 * Time and peak memory of a whole `quantize` run, stage by stage, on a generated Llama-shaped model with random
 * weights and real text; then one large layer alone (`one-layer.ts`).
 *
 *   npm run bench:pipeline -- [--size 135M|1100M] [--model FILE --tokenizer FILE --text FILE] [--rows 64] [--window 512]
 *     [--budget 3.5bpw] [--correction qep] [--quantizer gptq] [--scorer hessian-trace-local]
 *     [--layer 4096] [--formats …] [--results FILE]
 *
 * Of random weights every layer is as important as any other, so uniform bits would win: the formats on offer leave out
 * 3 bits, and the budget lies between the others. Memory is that of this process: the most it ever held, by stage.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  type CorrectionName,
  parseFormat,
  type QuantizerName,
  quantize,
  type ScorerName,
  version,
} from "../src/index.ts";

const root = new URL("../..", import.meta.url);
const embedded = (file: string) => fileURLToPath(new URL(`calibration/tiny-lm/${file}`, root));
const { values: args } = parseArgs({
  options: {
    size: { type: "string", default: "135M" },
    model: { type: "string" },
    tokenizer: { type: "string", default: embedded("tokenizer.json") },
    text: { type: "string", default: embedded("calibration.txt") },
    rows: { type: "string", default: "64" },
    "evaluate-rows": { type: "string", default: "16" },
    window: { type: "string", default: "512" },
    budget: { type: "string", default: "3.5bpw" },
    formats: { type: "string", default: "int2-b64,int4-b32,int6-b32" },
    scorer: { type: "string", default: "hessian-trace-local" },
    quantizer: { type: "string", default: "gptq" },
    correction: { type: "string", default: "qep" },
    "memory-limit": { type: "string" },
    threads: { type: "string", default: "2" },
    /** Width of the layer that is quantized alone; 0 for none. */
    layer: { type: "string", default: "4096" },
    results: { type: "string" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "bitloom-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const model = args.model ?? generated(args.size);
const peakMb = () => Math.round(process.resourceUsage().maxRSS / 1e3);
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
  rows: Number(args.rows),
  evaluateRows: Number(args["evaluate-rows"]),
  window: Number(args.window),
  budget: args.budget,
  formats: args.formats.split(",").map(parseFormat),
  scorer: args.scorer as ScorerName,
  quantizer: args.quantizer as QuantizerName,
  correction: args.correction as CorrectionName,
  memoryLimitBytes: args["memory-limit"] ? 2 ** 20 * Number(args["memory-limit"]) : undefined,
  threads: Number(args.threads),
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
  mkdirSync(dirname(args.results), { recursive: true });
  const { floatWeightBytes, weights, bitsPerWeight, options } = report;
  const entry = {
    model: args.model ?? args.size,
    ...{ weights, floatWeightBytes, bitsPerWeight, options },
    formats: Object.fromEntries(widths),
    windows: Number(args.rows),
    window: Number(args.window),
    ...{ stages, minutes, peakMb: peakMb() },
    ...{ propagation: report.propagation && { ...report.propagation, layers: undefined } },
    ...{ node: process.version, cpu: cpus()[0].model, bitloom: version },
  };
  appendFileSync(args.results, `${JSON.stringify(entry)}\n`);
}

if (args.layer !== "0") {
  const results = args.results ? ["--results", args.results] : [];
  runScript("./one-layer.js", ["--size", args.layer, ...results]);
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
