/**
 * Tokens per second of whole models: reading a prompt of 128 tokens, and decoding one token after the other, against
 * onnxruntime-web and onnxruntime-node on the same file.
 *
 *   npm run bench:session -- [--quick] [--threads N] [--only NAME | --model FILE] [--results FILE]
 *
 * One process, all libraries in turn: other load on the machine falls on all alike. Every library's logits are compared
 * with those of onnxruntime-node before it is timed. One JSON line per measurement.
 */
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { generateTokens, type TensorLike } from "../src/index.ts";
import { choice, count, file, flag, readArguments } from "./harness/arguments.ts";
import { median, rounded, summarize } from "./harness/figures.ts";
import { createProgress } from "./harness/progress.ts";
import { defaultResults, openResults, perNode } from "./harness/results.ts";
import { openScratch } from "./harness/scratch.ts";
import {
  type Contestant,
  contestants,
  type OpenContestant,
  openContestant,
} from "./session/contestants.ts";
import { type BenchmarkModel, generatedNames, sourcesOf, writeModel } from "./session/models.ts";
import { type Measured, printModel } from "./session/table.ts";

const { values: args } = readArguments("bench:session", {
  quick: flag("at 4 bits only, few samples"),
  threads: count("threads of the second column", Math.min(4, availableParallelism())),
  only: choice("which generated model to run", ["all", ...generatedNames], "all"),
  model: file("a float language model to run instead; it is rounded to nearest, which is as fast"),
  results: file("where results go; benchmarks/results/session-….jsonl, a temporary file if quick"),
});
const { threads } = args;
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

const progress = createProgress();
const promptOf = ({ vocabulary = 1000 }: BenchmarkModel) =>
  Int32Array.from({ length: promptTokens }, (_, at) => (at * 37 + 11) % Math.min(1000, vocabulary));

const results = openResults("session", args.results ?? defaultPath());
for (const source of sourcesOf(args)) {
  const scratch = openScratch();
  try {
    progress.note(`${source.name}: writing`);
    const model = await writeModel(source, scratch.path);
    const measured = await measure(model);
    write(model, measured);
    printModel(model, measured, promptTokens);
  } finally {
    scratch.close();
  }
}
console.log(`\n${results.path}`);

function defaultPath(): string {
  const subject = args.model === undefined ? [] : [basename(args.model).replace(/\.onnx$/, "")];
  const name = perNode(["session", ...subject].join("-"));
  return defaultResults(name, args.quick);
}

async function measure(model: BenchmarkModel): Promise<Measured[]> {
  const prompt = promptOf(model);
  const open: (OpenContestant & { tokens: number; times: Times; error: number })[] = [];
  let reference: Float32Array | undefined;
  // The reference comes first.
  const order = contestants(threads).sort((a, b) => rank(a) - rank(b));
  for (const contestant of order) {
    const label = labelOf(contestant);
    progress.note(`${model.name}: opening ${label}`);
    try {
      const one = await openContestant(contestant, model);
      const { logits } = await sample(one, prompt, 1);
      reference ??= logits;
      const error = distance(logits, reference);
      if (!(error < largestErrors[contestant.target]))
        throw new Error(`${label}: relative error ${error}`);
      // The second run has everything planned and compiled.
      const { times } = await sample(one, prompt, 3);
      const fitting = Math.round(decodeMs / median(times.decode));
      const tokens = Math.max(decodeLimits.least, Math.min(decodeLimits.most, fitting));
      open.push({ ...one, tokens, error, times: { prefill: [], decode: [] } });
    } catch (failure) {
      if (contestant.library === "bitloom") throw failure;
      progress.note(`${label} does not run this model: ${failure}`);
    }
  }
  progress.expect(model.name, samples);
  for (let round = 0; round < samples; round++) {
    const start = performance.now();
    for (const one of open) {
      const { times } = await sample(one, prompt, one.tokens);
      one.times.prefill.push(...times.prefill);
      one.times.decode.push(...times.decode);
    }
    progress.done(model.name, `${model.name}, round ${round + 1}`, performance.now() - start);
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
  prompt: Int32Array,
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
  for (const one of measured) {
    const { library, target, threads, error, nodes, fallbackNodes, fallbackTime } = one;
    const own = { nodes, fallbackNodes, fallbackTime: rounded(fallbackTime) };
    for (const phase of ["prefill", "decode"] as const) {
      const tokens = phase === "prefill" ? promptTokens : 1;
      results.write({
        key: { model: model.name, library, target, threads, phase, promptTokens },
        figures: { tokensPerSecond: summarize(one[phase], (ms) => (1000 * tokens) / ms) },
        details: {
          ...{ samples, fileBytes: model.bytes, relativeError: rounded(error) },
          ...(library === "bitloom" ? own : {}),
        },
      });
    }
  }
}
