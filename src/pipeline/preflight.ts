/**
 * What a run needs, before it starts to work: counts its operations, looks at the disks, and says what will be too
 * little. Not here: the estimate itself (`needs.ts`). Invariant: refuses only what surely cannot end well.
 */
import { readdir, stat } from "node:fs/promises";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { budgetToBytes, formatBytes, parseBudget } from "../allocate/index.ts";
import { calibrate, planStreams } from "../calibrate/index.ts";
import type { Dataset } from "../core/dataset.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { RunNeeds } from "../core/needs.ts";
import type { LayerAlternatives } from "../core/plan.ts";
import { elementCount } from "../core/tensor.ts";
import { findLogits } from "../onnx/index.ts";
import type { WorkerRuntime } from "../runtime/index.ts";
import { judgeDisk, volumeOf } from "./disk.ts";
import { growthSamples } from "./error-growth.ts";
import { unscoredAlternatives } from "./feasible.ts";
import type { Journal } from "./journal.ts";
import { estimateNeeds, type LayerWork, type RunFacts } from "./needs.ts";
import type { QuantizePipelineOptions } from "./options.ts";
import { fewRows, thinLayers, tokensPerSample } from "./rows.ts";
import { isSequential, type Opened } from "./run.ts";

interface PreflightContext {
  readonly options: QuantizePipelineOptions;
  readonly journal: Journal;
  readonly runtime: WorkerRuntime;
}

/** A run with the default scorer that measures longer than this is told of the faster ones. */
const slowScoringSeconds = 30 * 60;

/**
 * Estimates what a run needs and tells it, with notices where it is more than there is.
 *
 * Cost: reading the graph; for data that is no token windows one forward pass of one batch, to count rows.
 *
 * @throws output - checkpoint and output surely do not fit their disks. aborted.
 */
export async function preflight(opened: Opened, context: PreflightContext): Promise<RunNeeds> {
  const { options, journal } = context;
  const alternatives = unscoredAlternatives(opened.subject, opened.methods);
  const facts = await collectFacts(opened, alternatives, context);
  const needs = estimateNeeds(facts);
  journal.emit({ type: "needs", needs });
  noticeFewRows(opened, journal);
  noticeSlowScoring(needs, options, journal);
  noticeLittleMemory(needs, journal);
  const notice = await judgeDisk(await demandsOf(needs, opened, alternatives, options), volumeOf);
  if (notice) journal.notify(notice);
  return needs;
}

/** Corrections need Hessians where neither scorer nor quantizer does. */
function noticeFewRows({ subject, data, correction, options }: Opened, journal: Journal): void {
  const corrects = isSequential(subject, options) && correction.method.needs.length > 0;
  const thin = corrects ? thinLayers(subject.layers, data.calibrate) : [];
  if (thin.length > 0) journal.notify(fewRows(thin, "will see"));
}

function noticeSlowScoring(
  { seconds }: RunNeeds,
  { scorer, plan }: QuantizePipelineOptions,
  journal: Journal,
): void {
  const scoring = seconds?.score ?? 0;
  if (scorer !== undefined || plan || scoring <= slowScoringSeconds) return;
  journal.notify({
    code: "slow-scorer",
    message: `Scoring with measured-kl runs the model once per layer and width, which will take about ${minutes(scoring)}. Faster: --scorer hessian-trace, or --scorer output-error --allocator ranked; less data: --rows.`,
  });
}

function noticeLittleMemory({ memoryBytes }: RunNeeds, journal: Journal): void {
  const limit = process.constrainedMemory?.() ?? 0;
  const installed = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  if (memoryBytes <= installed) return;
  journal.notify({
    code: "little-memory",
    message: `The run may need ${formatBytes(memoryBytes)} of memory, and there are ${formatBytes(installed)}. Lower --memory-limit, --threads or --rows, or choose --scorer weight-error.`,
  });
}

/** "50 min", "3.5 h". */
const minutes = (seconds: number): string =>
  seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

/** Of quantizers that do not say: of the slowest registered one. */
const unknownSecondsPerWeight = 330e-9;

async function collectFacts(
  opened: Opened,
  alternatives: readonly LayerAlternatives[],
  context: PreflightContext,
): Promise<RunFacts> {
  const { subject, data, quantizer, correction, scorer, scorerNeeds, plansRounded } = opened;
  const { options, runtime } = context;
  const { graph } = subject.model;
  const formats = new Map(alternatives.map((entry) => [entry.layer, integersOf(entry)]));
  const rows = await rowsPerSample(opened, context);
  const layers = subject.layers.map((layer): LayerWork => {
    const own = formats.get(layer.id) ?? [];
    return {
      id: layer.id,
      n: layer.n,
      k: layer.k,
      groups: layer.groups,
      activation: activationOf(layer),
      rowsPerSample: rows.get(layer.id),
      block: subject.blocks.find((block) => block.layers.includes(layer.id))?.name ?? layer.id,
      formats: own.length,
      widths: new Set(own.map(({ bits }) => bits)).size,
    };
  });
  const vocabulary = data.search.protocol ? findLogits(graph)?.shape?.[2] : undefined;
  const logitsPerSample =
    typeof vocabulary === "number" ? 4 * vocabulary * (data.search.protocol?.window ?? 0) : 0;
  const { samples: perBatch } = await data.calibrate.batch(0);
  const needsHessian = scorerNeeds.includes("hessian") || quantizer.needs.includes("hessian");
  const work = scorer.work ?? {
    passes: scorer.forward ? "widths" : 0,
    quantizes: true,
    judges: scorer.needs.includes("hessian"),
  };
  // As in `propagate`: methods without a name have no checkpoint.
  const isNamed = typeof options.quantizer !== "object" && typeof options.correction !== "object";
  const isCheckpointed = options.checkpoint !== false && isNamed && isSequential(subject, options);
  return {
    layers,
    samples: {
      calibrate: data.calibrate.samples,
      search: data.search.samples,
      gate: data.gate.samples,
      growth: Math.min(growthSamples, data.gate.samples),
      evaluate: data.evaluate.samples,
    },
    scorer: options.plan ? undefined : { ...work, quantizes: work.quantizes && !plansRounded },
    calibrates: options.statistics === undefined && (needsHessian || scorerNeeds.length > 0),
    holdsHessians: needsHessian && !plansRounded,
    factors: quantizer.needs.includes("hessian"),
    secondsPerWeight: quantizer.secondsPerWeight ?? unknownSecondsPerWeight,
    correction: isSequential(subject, options) ? correctionWork(correction) : undefined,
    comparesOneShot: !plansRounded,
    gateModels: options.plan ? 1 : 4,
    workers: Math.min(runtime.workers, availableParallelism()),
    memoryLimitBytes: opened.memoryLimitBytes,
    modelBytes: [...graph.initializers.values()].reduce(
      (sum, { shape }) => sum + 4 * elementCount(shape),
      0,
    ),
    logitsBytes: logitsPerSample * perBatch,
    logitsPerSample,
    keptPerSample: keptPerSample(opened, rows),
    disk: {
      checkpointBytes: isCheckpointed ? checkpointBytes(subject.layers) : 0,
      outputBytes: outputBytes(opened, options),
      inputBytes: subject.model.fileBytes,
    },
  };
}

const integersOf = ({ alternatives }: LayerAlternatives) =>
  alternatives.map(({ format }) => format).filter(({ kind }) => kind === "integer");

const correctionWork = ({ method }: Opened["correction"]): RunFacts["correction"] =>
  method.needs.length === 0 ? "none" : method.needs.includes("holdout") ? "chosen" : "fixed";

/** Layers that read the same rows have the same; undefined for tables that are only gathered from. */
function activationOf({ uses }: Layer): string | undefined {
  const products = uses.filter(({ opType }) => opType !== "Gather");
  const keys = products.map(({ activation, window }) => JSON.stringify([activation, window]));
  return keys.length > 0 ? keys.join() : undefined;
}

/** Rows of each layer for one sample: of token windows known, else counted on the first batch. */
async function rowsPerSample(
  { subject, data, memoryLimitBytes }: Opened,
  { options, runtime }: PreflightContext,
): Promise<ReadonlyMap<LayerId, number>> {
  const { calibrate: dataset } = data;
  const { layers, model, blocks } = subject;
  if (dataset.protocol) {
    return new Map(layers.map((layer) => [layer.id, tokensPerSample(layer, dataset) ?? 0]));
  }
  const { samples } = await dataset.batch(0);
  const counted = await calibrate({
    model,
    layers,
    blocks,
    dataset: firstOf(dataset, samples),
    // Of layers that multiply nothing is measured; rows are counted all the same.
    needs: ["rowFrequency"],
    runtime,
    memoryLimitBytes,
    signal: options.signal,
  });
  return new Map(
    layers.map((layer) => [
      layer.id,
      activationOf(layer) === undefined ? 0 : (counted.get(layer.id)?.tokens ?? 0) / samples,
    ]),
  );
}

const firstOf = (dataset: Dataset, samples: number): Dataset =>
  dataset.select(Array.from({ length: samples }, (_, i) => i));

/**
 * Bytes that the walk over the layers keeps of one sample, at most. Shapes of values are not known: each is taken to
 * be as large as the widest input of its step.
 */
function keptPerSample({ subject }: Opened, rows: ReadonlyMap<LayerId, number>): number {
  const { steps, drifting } = planStreams(subject.model, subject.layers);
  const kept = new Map<string, number>();
  let most = 0;
  for (const { layers, outputs, finished } of steps) {
    const bytes = layers.map(({ id, k, groups, uses }) => {
      const taps = elementCount(uses.find(({ window }) => window)?.window?.kernel ?? []);
      return 4 * (rows.get(id) ?? 0) * ((groups * k) / taps);
    });
    for (const value of outputs) {
      kept.set(value, (drifting.has(value) ? 2 : 1) * Math.max(...bytes));
    }
    most = Math.max(most, sumOf(kept.values()));
    for (const value of finished) kept.delete(value);
  }
  return most;
}

/** A byte per code, and a scale and a zero point per block of 32, the shortest by default. */
const checkpointBytes = (layers: readonly Layer[]): number =>
  sumOf(layers.map(({ n, k }) => n * (k + 5 * Math.ceil(k / 32))));

/** What is no quantizable weight, and the weights' budget. */
function outputBytes({ subject }: Opened, { plan, budget }: QuantizePipelineOptions): number {
  const { model, weights, floatWeightBytes } = subject;
  const floatFileBytes = model.fileBytes;
  const overheadBytes = floatFileBytes - floatWeightBytes;
  const weightBytes = plan
    ? plan.budgetBytes
    : budgetToBytes(parseBudget(budget ?? "100%"), { weights, floatFileBytes, overheadBytes });
  return overheadBytes + Math.min(weightBytes, floatWeightBytes);
}

async function demandsOf(
  { disk }: RunNeeds,
  { subject }: Opened,
  alternatives: readonly LayerAlternatives[],
  options: QuantizePipelineOptions,
) {
  const { output, checkpoint = `${output}.checkpoint`, plan } = options;
  const folder = checkpoint === false ? undefined : checkpoint;
  const finished = folder === undefined ? 0 : await finishedBytes(folder);
  // Layers that may stay in float have no codes.
  const codes = sumOf(
    alternatives.map((entry) =>
      integersOf(entry).length === entry.alternatives.length ? entry.weights : 0,
    ),
  );
  const least = sumOf(
    alternatives.map((entry) => Math.min(...entry.alternatives.map(({ bytes }) => bytes))),
  );
  const others = subject.model.fileBytes - subject.floatWeightBytes;
  return [
    {
      what: "temporary files",
      folder: tmpdir(),
      sureBytes: 0,
      likelyBytes: disk.temporaryBytes,
    },
    {
      what: "the checkpoint",
      folder: folder === undefined ? tmpdir() : dirname(folder),
      sureBytes: disk.checkpointBytes > 0 && !plan ? Math.max(0, codes - finished) : 0,
      likelyBytes: Math.max(0, disk.checkpointBytes - finished),
    },
    {
      what: "the output",
      folder: dirname(output),
      sureBytes: Math.max(0, others) + (plan ? 0 : least),
      likelyBytes: disk.outputBytes,
    },
  ];
}

/** Bytes that an interrupted run has left in its checkpoint. */
async function finishedBytes(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sumOf(sizes);
}

const sumOf = (values: Iterable<number>): number => {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
};
