/**
 * Two streams through a model, side by side: the float one, and the one whose layers are rounded on the way. Before a
 * group of layers is rounded, what reaches it in both streams is measured; afterwards both go on from there.
 * Invariant: every node runs once per stream and batch, so cost grows linearly with depth.
 */
import { BitloomError, invariant, throwIfAborted } from "../../core/errors.ts";
import type { RunOptions } from "../../core/events.ts";
import type { Feeds, FeedTensor } from "../../core/feeds.ts";
import type { Layer, LayerId } from "../../core/layer.ts";
import type { Matrix } from "../../core/tensor.ts";
import type { Model } from "../../onnx/index.ts";
import {
  type BatchSource,
  inOrder,
  openAll,
  type Runtime,
  type Session,
  ValueStore,
  workersFor,
} from "../../runtime/index.ts";
import { type GramResults, GramSums, holdoutEvery, type Measured } from "./gram-sums.ts";
import { planStreams, type StreamPlan, type StreamStep } from "./plan.ts";
import { buildSegment, type Segment, type ValueType } from "./segment.ts";

export type { Measured } from "./gram-sums.ts";
export { planStreams, type StreamPlan, type StreamStep, unmeasured } from "./plan.ts";

/** The float model, or the one whose layers are being rounded. */
type Stream = "float" | "rounded";

export interface StreamGroup {
  readonly layers: readonly Layer[];
  /** Undefined when nothing can be measured before they are rounded, see `StreamStep.activations`. */
  readonly measured: Measured | undefined;
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
 * Cost: two forward passes over the data, plus 4·T·K² operations per distinct activation; of activations only those
 * are kept that a later step reads. Memory: `memoryLimitBytes`, and four float64 [K, K].
 * Numerics: float32 inside a batch, float64 across batches, merged in batch order whatever the number of threads.
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
      const measured = await walk.run(step, !isKnown);
      const rounded = await round({ layers: step.layers, measured });
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

class Walk {
  readonly #options: WalkOptions;
  readonly #plan: StreamPlan;
  readonly #store: ValueStore;
  readonly #types = new Map<string, ValueType>();
  /** Rounded weights in stored form, until the nodes that read them have run. */
  readonly #weights = new Map<
    string,
    { readonly tensor: FeedTensor; readonly left: Set<string> }
  >();
  readonly #feedNames: ReadonlySet<string>;

  constructor(options: WalkOptions, plan: StreamPlan) {
    this.#options = options;
    this.#plan = plan;
    this.#store = new ValueStore(options.memoryLimitBytes / 2);
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
  async run(step: StreamStep, measures: boolean): Promise<Measured | undefined> {
    const { drifting } = this.#plan;
    const isMeasured = measures && step.activations.length > 0;
    if (step.nodes.length === 0 && !isMeasured) return undefined;
    const drifts = step.activations.some((value) => drifting.has(value));
    const float = this.#segment(step, "float", isMeasured && !drifts ? "own" : "nothing");
    // Activations pass from one stream to the other only to be measured.
    const isRounded = step.outputs.some((value) => drifting.has(value)) || (isMeasured && drifts);
    const rounded = isRounded
      ? this.#segment(step, "rounded", isMeasured && drifts ? "drift" : "nothing")
      : undefined;
    const sums = await this.#runBatches(float, rounded);
    await this.#finish(step);
    return isMeasured ? this.#measured(step, sums) : undefined;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #segment(step: StreamStep, stream: Stream, measure: "own" | "drift" | "nothing"): Segment {
    const { model } = this.#options;
    const { drifting } = this.#plan;
    const weights = new Map<string, FeedTensor>();
    if (stream === "rounded")
      for (const [name, { tensor }] of this.#weights) weights.set(name, tensor);
    const isKept = (value: string) => stream === "float" || drifting.has(value);
    return buildSegment({
      model,
      step,
      outputs: step.outputs.filter(isKept),
      types: this.#types,
      weights,
      measure,
      needsResidual: this.#options.needsResidual,
    });
  }

  async #runBatches(float: Segment, rounded: Segment | undefined): Promise<GramSums> {
    const { runtime, dataset, needsHoldout, memoryLimitBytes, signal } = this.#options;
    const segments = rounded ? [float, rounded] : [float];
    const bytes = Math.max(...segments.map(({ weightBytes }) => weightBytes));
    const most = Math.min(runtime.workers, dataset.batches);
    const workers = workersFor(bytes, memoryLimitBytes, most, segments.length);
    const wanted = Array.from({ length: workers }, (_, worker) =>
      segments.filter(isUseful).map(({ model }) => ({ model, worker })),
    );
    const sessions: Session[][] = [];
    const isSplit = needsHoldout && dataset.batches >= holdoutEvery;
    const sums = new GramSums(isSplit);
    try {
      for (const own of wanted) sessions.push(await openAll(runtime, own));
      await inOrder({
        count: dataset.batches,
        ahead: workers,
        start: (batch) => this.#runBatch(batch, segments, sessions[batch % workers]),
        use: (results, batch) => {
          throwIfAborted(signal, "sequential quantization");
          sums.add(results, batch);
        },
      });
    } finally {
      await Promise.allSettled(sessions.flat().map((session) => session.release()));
    }
    return sums;
  }

  /** One batch through both segments; keeps what they give and returns the Gram matrices. */
  async #runBatch(
    batch: number,
    segments: readonly Segment[],
    sessions: readonly Session[],
  ): Promise<GramResults> {
    const { dataset } = this.#options;
    const { drifting } = this.#plan;
    const { feeds } = await dataset.batch(batch);
    const kept = async (stream: Stream, name: string) =>
      this.#feedNames.has(name)
        ? feeds[name]
        : this.#store.get(drifting.has(name) ? stream : "float", batch, name);
    let made: Feeds = {};
    let results: GramResults = {};
    let next = 0;
    for (const [index, segment] of segments.entries()) {
      const stream: Stream = index === 0 ? "float" : "rounded";
      const inputs: Record<string, FeedTensor> = {};
      for (const name of segment.inputs) {
        inputs[name] = await kept(stream, name);
      }
      for (const [value, name] of segment.floatInputs) {
        inputs[name] = made[value] ?? (await kept("float", value));
      }
      if (!isUseful(segment)) continue;
      const outputs = await sessions[next++].run(inputs);
      for (const name of segment.outputs) {
        await this.#store.put(stream, batch, name, outputs[name]);
        const { dtype, shape } = outputs[name];
        this.#types.set(name, { dtype, shape });
      }
      if (stream === "float") made = outputs;
      const { grams } = segment;
      if (grams) {
        results = Object.fromEntries(
          Object.entries(grams).map(([key, name]) => [key, name && outputs[name]]),
        );
      }
    }
    return results;
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

  #measured(step: StreamStep, sums: GramSums): Measured {
    const [layer] = step.layers;
    const measured = sums.finish(layer);
    const { hessian, drift, residualDrift } = measured.grams;
    if (![hessian, drift, residualDrift ?? []].every(areFinite)) {
      throw new BitloomError(
        "numeric",
        `The activations of layer "${layer.id}" are not finite on the calibration data${areFinite(hessian) ? "" : " once the layers before it are rounded"}. Check the data, use more bits, or --one-shot.`,
        { layer: layer.id, step: "sequential quantization" },
      );
    }
    return measured;
  }
}

/** A segment that only hands on values that are kept already has nothing to run. */
const isUseful = ({ outputs, grams }: Segment) => outputs.length > 0 || grams !== undefined;

const areFinite = (values: Float64Array | readonly number[]) =>
  values.every((value) => Number.isFinite(value));
