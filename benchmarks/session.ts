/**
 * Tokens per second of whole models: reading a prompt of 128 tokens, and decoding one token after the other, against
 * onnxruntime-web and onnxruntime-node on the same file.
 *
 *   npm run bench:session -- [--quick] [--threads N] [--model NAME] [--results FILE]
 *
 * One process, all libraries in turn: other load on the machine falls on all alike. Every library's logits are compared
 * with those of onnxruntime-node before it is timed. One JSON line per measurement.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { generateTokens, type TensorLike } from "../src/index.ts";
import { median, quantile } from "./kernels/measurement.ts";
import {
  type Contestant,
  contestants,
  type OpenContestant,
  openContestant,
} from "./session/contestants.ts";
import { type BenchmarkModel, modelNames, writeModel } from "./session/models.ts";
import { type Measured, printModel } from "./session/table.ts";

const root = new URL("../..", import.meta.url);
const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    threads: { type: "string" },
    model: { type: "string" },
    results: { type: "string" },
  },
});
const nodeMajor = process.versions.node.split(".")[0];
const results =
  args.results ?? fileURLToPath(new URL(`benchmarks/results/session-node${nodeMajor}.jsonl`, root));
const threads = Number(args.threads ?? Math.min(4, availableParallelism()));
const samples = args.quick ? 3 : 9;
const promptTokens = 128;
/** A sample decodes for about this long, within the limits. */
const decodeMs = args.quick ? 300 : 1000;
const decodeLimits = { least: 3, most: 32 } as const;
/**
 * Relative L2 error of the logits. 8-bit activations add up over 30 layers; the "ort" form of a mixed model has other
 * widths in place of 3 bits, so its logits are only near. Unrelated logits are √2 away.
 */
const largestErrors = { portable: 0.2, ort: 0.9 } as const;

const progress = (message: string) => process.stderr.write(`${message}\n`);
const prompt = Int32Array.from({ length: promptTokens }, (_, at) => (at * 37 + 11) % 1000);

mkdirSync(dirname(results), { recursive: true });
rmSync(results, { force: true });
for (const name of args.model === undefined ? modelNames(args.quick) : [args.model]) {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-session-"));
  try {
    progress(`${name}: writing`);
    const model = await writeModel(name, folder);
    const measured = await measure(model);
    write(model, measured);
    printModel(model, measured, promptTokens);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
console.log(`\n${results}`);

async function measure(model: BenchmarkModel): Promise<Measured[]> {
  const open: (OpenContestant & { tokens: number; times: Times; error: number })[] = [];
  let reference: Float32Array | undefined;
  // The reference comes first.
  const order = contestants(threads).sort((a, b) => rank(a) - rank(b));
  for (const contestant of order) {
    const label = labelOf(contestant);
    progress(`${model.name}: opening ${label}`);
    try {
      const one = await openContestant(contestant, model);
      const { logits } = await sample(one, 1);
      reference ??= logits;
      const error = distance(logits, reference);
      if (!(error < largestErrors[contestant.target]))
        throw new Error(`${label}: relative error ${error}`);
      // The second run has everything planned and compiled.
      const { times } = await sample(one, 3);
      const fitting = Math.round(decodeMs / median(times.decode));
      const tokens = Math.max(decodeLimits.least, Math.min(decodeLimits.most, fitting));
      open.push({ ...one, tokens, error, times: { prefill: [], decode: [] } });
    } catch (failure) {
      if (contestant.library === "bitloom") throw failure;
      progress(`${label} does not run this model: ${failure}`);
    }
  }
  for (let round = 0; round < samples; round++) {
    progress(`${model.name}: round ${round + 1} of ${samples}`);
    for (const one of open) {
      const { times } = await sample(one, one.tokens);
      one.times.prefill.push(...times.prefill);
      one.times.decode.push(...times.decode);
    }
  }
  const measured = open.map(({ library, target, threads, own, times, error }): Measured => {
    const { total = 0, fallback = 0 } = own?.elapsedMs ?? {};
    return {
      ...{ library, target, threads, ...times, error },
      fallbackNodes: own?.nodes.fallback ?? 0,
      nodes: own?.nodes.total ?? 0,
      fallbackTime: total > 0 ? fallback / total : 0,
    };
  });
  for (const { release } of open) await release();
  return measured;
}

interface Times {
  readonly prefill: number[];
  readonly decode: number[];
}

/** Reads the prompt, then decodes `tokens` more. */
async function sample(
  { session, logits }: OpenContestant,
  tokens: number,
): Promise<{ times: Times; logits: Float32Array }> {
  const times: Times = { prefill: [], decode: [] };
  let first = new Float32Array(0);
  const generated = generateTokens(session, prompt, {
    maxNewTokens: tokens + 1,
    onToken({ inputTokens, elapsedMs }) {
      if (inputTokens === promptTokens) {
        times.prefill.push(elapsedMs);
        first = lastLogits(logits());
      } else times.decode.push(elapsedMs);
    },
  });
  for await (const _ of generated);
  return { times, logits: first };
}

function lastLogits(tensor: TensorLike | undefined): Float32Array<ArrayBuffer> {
  if (!tensor) throw new Error("the run returned no logits");
  const { data, dims } = tensor;
  return Float32Array.from((data as Float32Array).subarray(-(dims.at(-1) ?? 0)));
}

function distance(values: Float32Array, reference: Float32Array): number {
  let difference = 0;
  let power = 0;
  for (let at = 0; at < reference.length; at++) {
    difference += (values[at] - reference[at]) ** 2;
    power += reference[at] ** 2;
  }
  return Math.sqrt(difference / power);
}

/** onnxruntime-node on the portable file is what the others are checked against. */
function rank({ library, target }: Contestant): number {
  return library === "onnxruntime-node" && target === "portable" ? 0 : 1;
}

function labelOf({ library, target, threads }: Contestant): string {
  return `${library}, ${target} file, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

function write(model: BenchmarkModel, measured: readonly Measured[]): void {
  const machine = { commit: commit(), node: process.version, cpu: cpus()[0].model, samples };
  const round = (value: number) => Number(value.toPrecision(4));
  for (const one of measured) {
    const { library, target, threads, error, nodes, fallbackNodes, fallbackTime } = one;
    for (const phase of ["prefill", "decode"] as const) {
      const tokens = phase === "prefill" ? promptTokens : 1;
      const times = one[phase];
      const speed = (ms: number) => round((1000 * tokens) / ms);
      const line = {
        model: model.name,
        fileBytes: model.bytes,
        ...{ library, target, threads, phase, promptTokens },
        tokensPerSecond: speed(median(times)),
        quartiles: [speed(quantile(times, 0.75)), speed(quantile(times, 0.25))],
        relativeError: round(error),
        ...(library === "bitloom" && { nodes, fallbackNodes, fallbackTime: round(fallbackTime) }),
        ...machine,
      };
      appendFileSync(results, `${JSON.stringify(line)}\n`);
    }
  }
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: fileURLToPath(root),
      stdio: ["ignore", "pipe", "ignore"],
    })
      .toString()
      .trim();
  } catch {
    return "unknown";
  }
}
