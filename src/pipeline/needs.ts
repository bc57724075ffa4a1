/**
 * What a run needs of memory, disk and time, from counted operations alone. Pure; who counts is `preflight.ts`.
 * Invariant: the same facts give the same needs on every machine: rates are constants, not measured.
 */
import type { RunNeeds } from "../core/needs.ts";
import type { ScorerWork } from "../core/score.ts";
import { inMemoryLimitBytes, keptLimitBytes, leastCopies, segmentBytes } from "../runtime/index.ts";
import { referenceLimitBytes } from "./alternatives.ts";
import { heldLimitBytes } from "./held.ts";

/** What one layer makes of the data. */
export interface LayerWork {
  readonly id: string;
  readonly n: number;
  readonly k: number;
  readonly groups: number;
  /** Layers with the same key read the same rows; undefined for tables that are only gathered from. */
  readonly activation: string | undefined;
  /** Rows that one sample multiplies with the weight, 0 for tables; undefined when not known. */
  readonly rowsPerSample: number | undefined;
  /** Layers with the same key are measured from one prefix of the graph; keys come in graph order. */
  readonly block: string;
  /** Integer formats on offer, and their different widths. */
  readonly formats: number;
  readonly widths: number;
}

export interface RunFacts {
  readonly layers: readonly LayerWork[];
  readonly samples: {
    readonly calibrate: number;
    readonly search: number;
    readonly gate: number;
    /** On which the growth of the error is measured. */
    readonly growth: number;
    readonly evaluate: number;
  };
  /** Undefined when a saved plan decides. */
  readonly scorer: ScorerWork | undefined;
  /** Statistics of the calibration data are collected for all layers. */
  readonly calibrates: boolean;
  /** Hessians of all layers are held at once; else at most those of one group. */
  readonly holdsHessians: boolean;
  /** The quantizer rounds with a Hessian's factor. */
  readonly factors: boolean;
  /** Seconds that the quantizer takes for each weight beside its K² work. */
  readonly secondsPerWeight: number;
  /** Undefined for a one-shot run. */
  readonly correction: "none" | "fixed" | "chosen" | undefined;
  /** Layers rounded by themselves are compared with those of a sequential run. */
  readonly comparesOneShot: boolean;
  /** Models that the gate compares beside the float one. */
  readonly gateModels: number;
  readonly workers: number;
  readonly memoryLimitBytes: number;
  /** All weights of the model as float32. */
  readonly modelBytes: number;
  /** float32 logits of one batch; 0 where the loss looks at outputs. */
  readonly logitsBytes: number;
  /** float32 logits of one sample. */
  readonly logitsPerSample: number;
  /** Activations that a step of the walk keeps for one sample, both streams. */
  readonly keptPerSample: number;
  readonly disk: {
    readonly checkpointBytes: number;
    readonly outputBytes: number;
    /** Of the float model. */
    readonly inputBytes: number;
  };
}

/**
 * Operations per second that are certain to be reached: half or less of what was measured on 2 cores of a Zen 5 (ONNX
 * Runtime 1.30, float32 products of K = 576: 126e9 per worker; float64 kernels at K = 1024: 20 to 57e9 on 2 threads).
 */
export const rates = {
  /** Of a worker of ONNX Runtime, float32: a whole forward pass, with all that is not a product. */
  forward: 25e9,
  /** Products of activations alone. */
  gram: 50e9,
  /** Of a thread of the linear algebra, float64. */
  algebra: 8e9,
  /** Bytes read, hashed and written. */
  disk: 200e6,
} as const;

/** A packed model, as it is written, unpacks its weights in every batch: its passes take this much longer. */
const packedPasses = 2;

/** Memory that does not depend on the model: Node, ONNX Runtime, workers, kernels. */
const baseBytes = 420e6;
/** float32 copies of a batch's logits in each worker: model, reference, log-probabilities and their results. */
const logitsCopies = 6;
/**
 * Of the layer at work, by what corrects it: float32 [N, K] in all (stored, W, codes, the written form; the target and
 * float64 shifts; candidates), and float64 [K, K] (H and half as much for its factor; C and another factor; both of the
 * held-out rows, what is left without them, and factors of that).
 */
const copies = {
  none: { layer: 6, hessian: 2 },
  fixed: { layer: 12, hessian: 3 },
  chosen: { layer: 16, hessian: 7 },
} as const;

/**
 * Estimates a run.
 *
 *   forward pass  Σ 2·N·K·T ;  Hessian  2·T·K², of both streams 4·T·K² ;  factor  K³/3 ;  rounding  N·K² ;
 *   judging  2·N·K² ;  measured scores  Σ over layers passes · Σ over layers from the block on 2·N·K·T
 *
 * @returns bytes and seconds; times are for the constants of this file and often twice too long, rarely too short.
 *
 * Cost: O(layers). Not counted: attention's own products, element-wise operators, reading of weights.
 */
export function estimateNeeds(facts: RunFacts): RunNeeds {
  const { layers, samples, disk } = facts;
  const keptBytes = facts.keptPerSample * samples.calibrate;
  const beyond = (bytes: number, limit: number) => Math.max(0, bytes - limit);
  return {
    memoryBytes: Math.round(peakMemory(facts, keptBytes)),
    disk: {
      temporaryBytes: Math.round(
        beyond(keptBytes, keptLimitBytes(facts.memoryLimitBytes)) +
          beyond(heldBytes(facts), heldLimitBytes(facts.memoryLimitBytes)) +
          sessionFiles(facts),
      ),
      checkpointBytes: disk.checkpointBytes,
      outputBytes: disk.outputBytes,
    },
    seconds: layers.some(({ rowsPerSample }) => rowsPerSample === undefined)
      ? null
      : stageSeconds(facts),
    rows: fewestRows(facts),
  };
}

/** Files that large parts of a model are opened through, one at a time in each worker. */
function sessionFiles({ layers, workers, modelBytes, memoryLimitBytes, scorer }: RunFacts): number {
  const largest = Math.max(0, ...layers.map(({ n, k }) => 4 * n * k));
  const measures = scorer !== undefined && scorer.passes !== 0;
  const part = measures ? modelBytes : Math.max(largest, segmentBytes(memoryLimitBytes));
  const bytes = Math.min(modelBytes, part);
  return bytes > inMemoryLimitBytes ? workers * bytes : 0;
}

/** Most memory at once, bytes. Every term is a bound of its own; they are rarely reached together. */
function peakMemory(facts: RunFacts, keptBytes: number): number {
  const { layers, workers, memoryLimitBytes, modelBytes, scorer, samples } = facts;
  const largest = Math.max(0, ...layers.map(({ n, k }) => n * k));
  const measures = scorer !== undefined && scorer.passes !== 0;
  const multiplied = layers.filter(({ activation }) => activation !== undefined);
  const { layer, hessian } = copies[facts.correction ?? "none"];
  return (
    baseBytes +
    Math.min(memoryLimitBytes, leastCopies * workers * modelBytes) +
    Math.min(keptLimitBytes(memoryLimitBytes), keptBytes) +
    layer * 4 * largest +
    workers * logitsCopies * facts.logitsBytes +
    hessian * Math.max(0, ...multiplied.map(hessianBytes)) +
    Math.min(heldLimitBytes(memoryLimitBytes), heldBytes(facts)) +
    // Measuring scores opens models whole.
    (measures ? leastCopies * workers * modelBytes : 0) +
    (measures ? Math.min(referenceLimitBytes, samples.search * facts.logitsPerSample) : 0)
  );
}

const hessianBytes = ({ groups, k }: LayerWork) => 8 * groups * k * k;

/** Hessians, and codes of the plans under comparison: in memory up to the limit, in temporary files beyond it. */
function heldBytes({ layers, holdsHessians, gateModels }: RunFacts): number {
  const multiplied = layers.filter(({ activation }) => activation !== undefined);
  return (
    (holdsHessians ? sum(distinct(multiplied), hessianBytes) : 0) +
    gateModels * sum(layers, ({ n, k }) => n * k)
  );
}

function stageSeconds(facts: RunFacts): Record<string, number> {
  const { layers, samples, scorer, correction, gateModels, workers, disk } = facts;
  const multiplied = layers.filter(({ activation }) => activation !== undefined);
  const groups = distinct(multiplied);
  const forward = workers * rates.forward;
  const gram = workers * rates.gram;
  const algebra = workers * rates.algebra;
  const pass = (count: number) => count * sum(layers, operationsPerSample);
  const grams = (count: number, perRow: number) =>
    sum(
      groups,
      ({ groups: g, k, rowsPerSample = 0 }) => count * perRow * rowsPerSample * g * k * k,
    );
  const factor = facts.factors ? sum(groups, ({ groups: g, k }) => (g * k ** 3) / 3) : 0;
  const weights = sum(layers, ({ n, k }) => n * k);
  const squares = sum(multiplied, ({ n, k }) => n * k * k);
  /** Seconds to quantize every layer once. */
  const quantizing = weights * facts.secondsPerWeight + (facts.factors ? squares / algebra : 0);
  const hashing = disk.inputBytes / rates.disk;
  const seconds: Record<string, number> = {};
  if (facts.calibrates) {
    seconds.calibrate =
      pass(samples.calibrate) / forward +
      (facts.holdsHessians ? grams(samples.calibrate, 2) / gram : 0);
  }
  if (scorer) {
    seconds.score =
      (scorer.passes === 0 ? 0 : measuring(facts, scorer.passes) / forward) +
      sum(layers, ({ n, k, formats, activation }) => {
        const isJudged = activation !== undefined;
        const solved = scorer.quantizes && facts.factors && isJudged ? n * k * k : 0;
        const judged = scorer.judges && isJudged ? 2 * n * k * k : 0;
        return formats * (n * k * facts.secondsPerWeight + (solved + judged) / algebra);
      }) +
      (scorer.quantizes ? factor / algebra : 0);
    seconds.gate = pass(samples.gate) * ((1 + gateModels) / forward) + gateModels * quantizing;
  }
  if (correction) {
    const solving = {
      none: 0,
      fixed: (4 / 3) * sum(multiplied, cubes) + 4 * squares,
      chosen: 4 * (4 / 3) * sum(multiplied, cubes) + (4 * 8 + 7) * squares,
    }[correction];
    const rounds = correction === "chosen" ? 5 : 1;
    const models = facts.comparesOneShot ? 2 : 1;
    // The float model and two quantized ones.
    const comparing = facts.comparesOneShot ? 3 * pass(samples.gate) : 0;
    seconds.propagate =
      (2 * pass(samples.calibrate)) / forward +
      grams(samples.calibrate, 4) / gram +
      (factor + solving) / algebra +
      rounds * quantizing +
      comparing / forward +
      hashing;
    seconds.growth = (2 * models * pass(samples.growth)) / forward;
  }
  seconds.evaluate = pass(samples.evaluate) * ((2 + packedPasses) / forward);
  seconds.save = hashing + (2 * disk.outputBytes) / rates.disk;
  return seconds;
}

/** Operations of the passes that measured scores take: per block one prefix, per candidate one pass of the rest. */
function measuring({ layers, samples }: RunFacts, passes: number | "widths"): number {
  const blocks = new Map<string, LayerWork[]>();
  for (const layer of layers) {
    const block = blocks.get(layer.block);
    if (block) block.push(layer);
    else blocks.set(layer.block, [layer]);
  }
  const all = sum(layers, operationsPerSample);
  let before = 0;
  let total = all;
  for (const block of blocks.values()) {
    const candidates = sum(block, ({ widths }) => (passes === "widths" ? widths : passes));
    if (candidates > 0) total += before + candidates * (all - before);
    before += sum(block, operationsPerSample);
  }
  return samples.search * total;
}

const operationsPerSample = ({ n, k, rowsPerSample = 0 }: LayerWork) => 2 * n * k * rowsPerSample;

const cubes = ({ groups, k }: LayerWork) => groups * k ** 3;

const sum = (layers: readonly LayerWork[], of: (layer: LayerWork) => number): number =>
  layers.reduce((total, layer) => total + of(layer), 0);

/** One layer of those that read the same rows. */
const distinct = (layers: readonly LayerWork[]): LayerWork[] => [
  ...new Map(layers.map((layer) => [layer.activation, layer])).values(),
];

function fewestRows({ layers, samples }: RunFacts): RunNeeds["rows"] {
  let least: RunNeeds["rows"] = null;
  for (const { id, k, activation, rowsPerSample } of layers) {
    if (activation === undefined || rowsPerSample === undefined) continue;
    const rows = rowsPerSample * samples.calibrate;
    if (!least || rows / k < least.rows / least.k) least = { layer: id, rows, k };
  }
  return least;
}
