/**
 * Speed of the low-bit products and of the float32 product against onnxruntime-web and onnxruntime-node on the same
 * weights, and of the low-bit ones against the memory where the weights are larger than the cache.
 *
 *   npm run bench:kernels -- [--quick] [--results FILE]
 *
 * One process, all candidates in turn: other load on the machine falls on all alike. Every output is checked before
 * it is timed. Times of our products include the quantization of the activations. One JSON line per measurement.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  activationBytes,
  activationTypeFor,
  availableTiers,
  type Fields,
  gemm,
  type KernelCall,
  type LowBits,
  lowBitMatrix,
  lowBits,
  packedGemmLength,
  packGemm,
  planGemm,
  quantizeActivations,
} from "../native/index.ts";
import { file, flag, readArguments } from "./harness/arguments.ts";
import { projectFolder } from "./harness/environment.ts";
import { rounded, summarize } from "./harness/figures.ts";
import { createProgress } from "./harness/progress.ts";
import { defaultResults, openResults, perNode } from "./harness/results.ts";
import { coldBytes, measureCold, prepareCold } from "./kernels/cold.ts";
import { Engine } from "./kernels/engine.ts";
import { type Candidate, gopsOf, type Plan } from "./kernels/measurement.ts";
import {
  matMulFloat,
  matMulNBits,
  openRival,
  type Rival,
  type RivalProduct,
  rivalBits,
  rivalProduct,
} from "./kernels/rivals.ts";
import { printTables } from "./kernels/tables.ts";
import {
  blockSize,
  floatWeights,
  randomInput,
  randomWeights,
  relativeError,
  type Weights,
} from "./kernels/weights.ts";

const { values: args } = readArguments("bench:kernels", {
  quick: flag("one shape, three widths, few samples"),
  results: file("where results go; benchmarks/results/kernels-….jsonl, a temporary file if quick"),
});
const resultsFile = args.results ?? defaultResults(perNode("kernels"), args.quick);
const plan = JSON.parse(
  readFileSync(join(projectFolder, "benchmarks", "shapes", "kernels.json"), "utf8"),
) as Plan;
const samples = args.quick ? 5 : 21;
const bitsList: readonly LowBits[] = args.quick ? [3, 4, 8] : lowBits;
const shapes = args.quick ? plan.shapes.slice(-1) : plan.shapes;
/** A sample of a short product repeats it for about this long. */
const sampleMs = 4;

const tiers = availableTiers();
const engine = new Engine(coldBytes + 400 * 2 ** 20);
const candidates: Candidate[] = [];
const releases: (() => Promise<void>)[] = [];
const pending: { readonly make: () => Promise<Candidate> | Candidate }[] = [];

const progress = createProgress();
progress.note(`relaxed SIMD: ${tiers.relaxedSimd.reason}; 8 bits: ${tiers.relaxedSimd8.reason}`);

const rivals = {
  "onnxruntime-web": await openRival("onnxruntime-web"),
  "onnxruntime-node": await openRival("onnxruntime-node"),
};

for (const { name: shape, k, n } of shapes) {
  for (const bits of bitsList) {
    const weights = randomWeights(n, k, bits);
    addOurs(shape, weights);
    if (rivalBits.includes(bits)) {
      await addRivals(shape, weights, bits, () => matMulNBits(weights), "MatMulNBits");
    }
    if (bits === bitsList[bitsList.length - 1]) {
      addOurFloat(shape, weights);
      await addRivals(shape, weights, 32, () => matMulFloat(weights), "MatMul");
    }
  }
}
const coldSeries = prepareCold({
  engine,
  shape: plan.shapes[plan.shapes.length - 1],
  bitsList,
  tiers,
});
await engine.start();
for (const { make } of pending) candidates.push(await make());
progress.expect("round", samples);
for (let sample = 0; sample < samples; sample++) {
  const start = performance.now();
  for (const candidate of candidates) candidate.times.push(await timeOf(candidate.run));
  progress.done("round", `round ${sample + 1}`, performance.now() - start);
}
progress.note("weights beyond the cache");
const cold = measureCold(engine, coldSeries, samples);
await engine.stop();
for (const release of releases) await release();
writeResults();
printTables({ plan, shapes, bitsList, candidates, cold, tiers });
console.log(`\n${resultsFile}`);

/** Time of one run in ms, after one that is not timed and brings the weights as near as they fit. */
async function timeOf(run: () => void | Promise<void>): Promise<number> {
  let start = performance.now();
  await run();
  const turns = Math.max(1, Math.min(200, Math.round(sampleMs / (performance.now() - start))));
  start = performance.now();
  for (let turn = 0; turn < turns; turn++) await run();
  return (performance.now() - start) / turns;
}

function addOurs(shape: string, weights: Weights): void {
  const { n, k, bits } = weights;
  const activation = activationTypeFor(bits, tiers, false);
  const matrix = lowBitMatrix({ n, k, bits, blockSize, symmetric: true, activation });
  const at = engine.allocate(matrix.bytes);
  const readRow = (row: number, into: Uint8Array) =>
    into.set(weights.codes.subarray(row * k, (row + 1) * k));
  matrix.pack({ readRow, scales: weights.scales }, engine.bytes.subarray(at, at + matrix.bytes));
  for (const m of plan.rows) {
    const input = inputOf(m, k);
    const activations = engine.allocate(activationBytes(m, k, activation));
    const output = engine.allocate(4 * m * n);
    const quantization = quantizeActivations(m, k, activation, { input, activations });
    const product = matrix.product(m, { activations, weights: at, bias: 0, output });
    addProduct({
      shape,
      weights,
      bits,
      m,
      output,
      calls: [quantization as never, product as never],
    });
  }
}

function addOurFloat(shape: string, weights: Weights): void {
  const { n, k } = weights;
  const b = engine.allocate(4 * packedGemmLength(n, k));
  const into = engine.floats(b, packedGemmLength(n, k));
  packGemm(into, floatWeights(weights), n, k, [1, k]);
  for (const m of plan.rows) {
    const output = engine.allocate(4 * m * n);
    const { values, items } = planGemm(m, n, k);
    const pointers = { a: inputOf(m, k), b, c: output, columnBias: 0, rowBias: 0 };
    const call = { kernel: gemm, values: { ...values, ...pointers }, items };
    addProduct({ shape, weights, bits: 32, m, output, calls: [call as never] });
  }
}

function inputOf(m: number, k: number): number {
  const input = engine.allocate(4 * m * k);
  engine.floats(input, m * k).set(randomInput(m, k));
  return input;
}

interface Product {
  readonly shape: string;
  readonly weights: Weights;
  readonly bits: number;
  readonly m: number;
  /** Address. */
  readonly output: number;
  /** In order; the last gives the kernel its name. */
  readonly calls: readonly KernelCall<Fields>[];
}

/** Adds the product on one thread and on two. */
function addProduct({ shape, weights, bits, m, output, calls }: Product): void {
  const { n, k } = weights;
  const kernel = calls[calls.length - 1].kernel.name;
  const steps = calls.map((call) => ({ call: engine.prepare(call), isShared: call.items > 1 }));
  for (const threads of [1, 2]) {
    const run = () => {
      for (const { call, isShared } of steps) {
        if (threads === 2 && isShared) engine.runOnTwoThreads(call);
        else engine.run(call);
      }
    };
    const make = (): Candidate => {
      engine.floats(output, m * n).fill(Number.NaN);
      run();
      const error = relativeError(engine.floats(output, m * n), randomInput(m, k), weights);
      const common = { shape, k, n, m, bits, threads, run, times: [] };
      return checked({ library: "bitloom", kernel, error, ...common });
    };
    pending.push({ make });
  }
}

async function addRivals(
  shape: string,
  weights: Weights,
  bits: number,
  model: () => Uint8Array,
  kernel: string,
): Promise<void> {
  const { n, k } = weights;
  for (const [library, ort] of Object.entries(rivals) as [Rival, (typeof rivals)[Rival]][]) {
    let product: RivalProduct;
    try {
      product = await rivalProduct(ort, model(), k);
    } catch (error) {
      progress.note(`${library} has no ${kernel} of ${bits} bits: ${error}`);
      continue;
    }
    releases.push(() => product.release());
    for (const m of plan.rows) {
      const input = randomInput(m, k);
      const run = async () => {
        await product.run(input, m);
      };
      const make = async (): Promise<Candidate> => {
        const error = relativeError(await product.run(input, m), input, weights);
        const common = { shape, k, n, m, bits, threads: 1, run, times: [] };
        return checked({ library, kernel, error, ...common });
      };
      pending.push({ make });
    }
  }
}

function checked(candidate: Candidate): Candidate {
  // int8 activations are good to about 6e-3; everything else is far better.
  if (!(candidate.error < 0.02)) {
    throw new Error(`${candidate.library} ${candidate.kernel}: relative error ${candidate.error}`);
  }
  return candidate;
}

function writeResults(): void {
  const results = openResults("kernels", resultsFile);
  for (const { library, kernel, shape, m, k, n, bits, threads, error, times } of candidates) {
    results.write({
      key: { what: "product", library, shape, m, k, n, bits, threads },
      figures: { ms: summarize(times), gops: summarize(times, gopsOf({ m, n, k })) },
      details: { kernel, samples, relativeError: rounded(error) },
    });
  }
  for (const { bits, readSpeed, productSpeed, share } of cold) {
    results.write({
      key: { what: "product beyond the cache", library: "bitloom", bits },
      figures: { productGBps: rounded(productSpeed) },
      details: { samples, readGBps: rounded(readSpeed), share: rounded(share) },
    });
  }
}
