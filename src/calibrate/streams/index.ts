/**
 * Two streams through a model, side by side: the float one, and the one whose layers are rounded on the way. Before a
 * group of layers is rounded, what reaches it in both streams is measured; afterwards both go on from there.
 * Invariant: every node runs once per stream and batch, so cost grows linearly with depth.
 */
import { BitloomError, invariant, throwIfAborted } from "../../core/errors.ts";
import type { RunOptions } from "../../core/events.ts";
import type { FeedTensor } from "../../core/feeds.ts";
import { allFinite } from "../../core/finite.ts";
import type { Layer, LayerId } from "../../core/layer.ts";
import { elementCount, type Matrix } from "../../core/tensor.ts";
import type { Model } from "../../onnx/index.ts";
import {
  aheadOf,
  type BatchSource,
  inOrder,
  keptLimitBytes,
  openAll,
  type Runtime,
  type Session,
  threadsFor,
  ValueStore,
  workersFor,
} from "../../runtime/index.ts";
import { buildGramModel, type Stream } from "./gram-model.ts";
import type { FoundInStep, Measured } from "./gram-sums.ts";
import { batchesTogether, measureGrams } from "./measure.ts";
import { planStreams, type StreamPlan, type StreamStep } from "./plan.ts";
import { buildSegment, type Segment, type ValueType } from "./segment.ts";

export type { Measured } from "./gram-sums.ts";
export { planStreams, type StreamPlan, type StreamStep, unmeasured } from "./plan.ts";

export interface StreamGroup {
  readonly layers: readonly Layer[];
  /**
   * Undefined when nothing can be measured before they are rounded, see `StreamStep.activations`, and where only the
   * drift is measured.
   */
  readonly measured: Measured | undefined;
  /** Σ ‖x − x̂‖² / Σ ‖x‖²: error that has grown so far, relative to the activation; null where it is not measured. */
  readonly relativeDrift: number | null;
}

export interface WalkOptions extends RunOptions {
  readonly model: Model;
  /** Layers that are rounded. */
  readonly layers: readonly Layer[];
  readonly dataset: BatchSource;
  readonly runtime: Runtime;
  /** Of open weights, and half as much of activations; more goes to temporary files. */
  readonly memoryLimitBytes: number;
  /** Also measures the held-out rows apart. */
  readonly needsHoldout: boolean;
  /** Also measures how the drift of what outputs are added to couples with the activations. */
  readonly needsResidual: boolean;
  /** Measures how far the streams are apart and nothing else: no Gram matrices. */
  readonly onlyDrift?: boolean;
  /** True for layers that have been rounded in an earlier run: they are not measured again. */
  isFinished(layer: LayerId): boolean;
  /**
   * Rounds a group.
   *
   * @returns Ŵ of each of its layers, float32 [N, K].
   */
  round(group: StreamGroup): Promise<ReadonlyMap<LayerId, Matrix>>;
}

export interface WalkSummary {
  readonly steps: number;
  readonly peak: ValueStore["peak"];
}

/**
 * Walks through the model in topological order, rounding group after group.
 *
 * Cost: two forward passes over the data, plus 4·T·K² operations per distinct activation (T·K where only the drift is
 * measured); of activations only those are kept that a later step reads. Memory: `memoryLimitBytes`, and two float64
 * [K, K], four with held-out batches.
 * Numerics: float32 over the rows that are measured together (one batch, or as many as have 2048 rows), float64 beyond,
 * merged in order whatever the number of threads.
 *
 * @throws numeric - activations are not finite; names the layer. output - no room for temporary files. aborted.
 */
export async function walkStreams(options: WalkOptions): Promise<WalkSummary> {
  const { model, layers, isFinished, round, signal, onEvent } = options;
  const plan = planStreams(model, layers);
  const walk = new Walk(options, plan);
  let done = 0;
  try {
    for (const step of plan.steps) {
      throwIfAborted(signal, "sequential quantization");
      const isKnown = step.layers.every(({ id }) => isFinished(id));
      const found = await walk.run(step, !isKnown);
      const rounded = await round({
        layers: step.layers,
        measured: found?.measured,
        relativeDrift: found?.relativeDrift ?? null,
      });
      for (const layer of step.layers) {
        const weight = rounded.get(layer.id);
        invariant(weight, `layer "${layer.id}" was not rounded`);
        walk.replace(layer, weight);
      }
      done += step.layers.length;
      onEvent?.({ type: "progress", stage: "propagate", done, total: layers.length });
    }
  } finally {
    await walk.close();
  }
  return { steps: plan.steps.length, peak: walk.peak };
}

/** Results of a batch, H and C of two workers and copies of them, may take as much as weights or values. */
const blocksInLimit = 16;

class Walk {
  readonly #options: WalkOptions;
  readonly #plan: StreamPlan;
  readonly #store: ValueStore;
  readonly #types = new Map<string, ValueType>();
  /** Elements of kept values in the batch that has most of them. */
  readonly #elements = new Map<string, number>();
  /** Rounded weights in stored form, until the nodes that read them have run. */
  readonly #weights = new Map<
    string,
    { readonly tensor: FeedTensor; readonly left: Set<string> }
  >();
  readonly #feedNames: ReadonlySet<string>;

  constructor(options: WalkOptions, plan: StreamPlan) {
    this.#options = options;
    this.#plan = plan;
    this.#store = new ValueStore(keptLimitBytes(options.memoryLimitBytes));
    this.#feedNames = new Set(options.model.graph.inputs.map(({ name }) => name));
    for (const { name, dtype } of options.model.graph.inputs) {
      if (dtype) this.#types.set(name, { dtype, shape: undefined });
    }
  }

  get peak(): ValueStore["peak"] {
    return this.#store.peak;
  }

  /** The rounded stream goes on with this weight. */
  replace(layer: Layer, weight: Matrix): void {
    const left = new Set(layer.uses.map(({ node }) => node));
    this.#weights.set(layer.weight, { tensor: layer.toStored(weight), left });
  }

  /** Runs the nodes of a step in both streams; measures its activations when asked to. */
  async run(step: StreamStep, measures: boolean): Promise<FoundInStep | undefined> {
    if (step.nodes.length > 0) {
      await this.#runNodes(step, "float");
      const drifts = step.outputs.some((value) => this.#plan.drifting.has(value));
      if (drifts) await this.#runNodes(step, "rounded");
    }
    const found = measures && step.activations.length > 0 ? await this.#measure(step) : undefined;
    await this.#finish(step);
    return found;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #segment(step: StreamStep, stream: Stream): Segment {
    const { drifting } = this.#plan;
    const weights = new Map<string, FeedTensor>();
    if (stream === "rounded")
      for (const [name, { tensor }] of this.#weights) weights.set(name, tensor);
    const isKept = (value: string) => stream === "float" || drifting.has(value);
    return buildSegment({
      model: this.#options.model,
      step,
      outputs: step.outputs.filter(isKept),
      types: this.#types,
      weights,
    });
  }

  /** All batches through the nodes of a step, keeping what they give. */
  async #runNodes(step: StreamStep, stream: Stream): Promise<void> {
    const { runtime, dataset, memoryLimitBytes, signal } = this.#options;
    const segment = this.#segment(step, stream);
    const { model, weightBytes } = segment;
    const most = Math.min(runtime.workers, dataset.batches);
    const workers = workersFor(weightBytes, memoryLimitBytes, most, 1);
    const threads = threadsFor(workers, most);
    const wanted = Array.from({ length: workers }, (_, worker) => ({ model, worker, threads }));
    const sessions = await openAll(runtime, wanted);
    try {
      await inOrder({
        count: dataset.batches,
        ahead: aheadOf(workers),
        start: (batch) => this.#runBatch(batch, stream, segment, sessions[batch % workers]),
        use: () => throwIfAborted(signal, "sequential quantization"),
      });
    } finally {
      await Promise.allSettled(sessions.map((session) => session.release()));
    }
  }

  async #runBatch(
    batch: number,
    stream: Stream,
    { inputs, outputs }: Segment,
    session: Session,
  ): Promise<void> {
    const feeds: Record<string, FeedTensor> = {};
    for (const name of inputs) feeds[name] = await this.#value(stream, batch, name);
    const made = await session.run(feeds);
    for (const name of outputs) {
      await this.#store.put(stream, batch, name, made[name]);
      const { dtype, shape } = made[name];
      this.#types.set(name, { dtype, shape });
      this.#elements.set(name, Math.max(elementCount(shape), this.#elements.get(name) ?? 0));
    }
  }

  /** A feed, or what was kept; a value that does not drift is that of the float stream in both. */
  async #value(stream: Stream, batch: number, name: string): Promise<FeedTensor> {
    if (this.#feedNames.has(name)) return (await this.#options.dataset.batch(batch)).feeds[name];
    return this.#store.get(this.#plan.drifting.has(name) ? stream : "float", batch, name);
  }

  async #measure(step: StreamStep): Promise<FoundInStep> {
    const { model, dataset, runtime, memoryLimitBytes, signal } = this.#options;
    const { needsHoldout, needsResidual, onlyDrift: onlyPowers = false } = this.#options;
    const drifts = step.activations.some((value) => this.#plan.drifting.has(value));
    const [layer] = step.layers;
    const blockBytes = memoryLimitBytes / blocksInLimit;
    const common = {
      model,
      step,
      types: this.#types,
      drifts,
      needsResidual,
      onlyPowers,
      blockBytes,
    };
    const measure = async (together: number) => {
      const sums = await measureGrams({
        build: (batches) => buildGramModel({ ...common, batches }),
        together,
        batches: dataset.batches,
        value: (stream, batch, name) => this.#value(stream, batch, name),
        ...{ layer, needsHoldout, onlyPowers, runtime, signal },
      });
      return sums.finish();
    };
    const together = batchesTogether(step, this.#elements, blockBytes);
    let found = await measure(together);
    // Near the end of float32 the sum over several batches overflows where those of each do not.
    if (together > 1 && !isSane(found)) found = await measure(1);
    if (!isSane(found)) {
      const hessian = found.measured?.grams.hessian;
      const isLate = hessian !== undefined && !allFinite(hessian);
      throw new BitloomError(
        "numeric",
        `The activations of layer "${layer.id}" are not finite on the calibration data${isLate ? " once the layers before it are rounded" : ""}. Check the data, use more bits, or --one-shot.`,
        { layer: layer.id, step: "sequential quantization" },
      );
    }
    return found;
  }

  /** Drops what nobody reads any more. */
  async #finish(step: StreamStep): Promise<void> {
    for (let batch = 0; batch < this.#options.dataset.batches; batch++) {
      for (const value of step.finished) {
        await this.#store.drop("float", batch, value);
        await this.#store.drop("rounded", batch, value);
      }
    }
    const ran = new Set(step.nodes.map(({ name }) => name));
    for (const [name, { left }] of this.#weights) {
      for (const node of ran) left.delete(node);
      if (left.size === 0) this.#weights.delete(name);
    }
  }
}

/** All that was measured is finite. */
function isSane({ measured, relativeDrift }: FoundInStep): boolean {
  const { hessian, drift, residualDrift } = measured?.grams ?? {};
  const sums = [hessian, drift, residualDrift].filter((array) => array !== undefined);
  return Number.isFinite(relativeDrift) && sums.every(allFinite);
}
