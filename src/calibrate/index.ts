/**
 * Data to statistics. Statistics are compiled into a copy of the graph and run by ONNX Runtime; a value that several
 * layers read is measured once.
 */
import type { Dataset } from "../core/dataset.ts";
import { BitloomError } from "../core/errors.ts";
import type { RunOptions } from "../core/events.ts";
import { allFinite } from "../core/finite.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { Block, LayerStats, StatName } from "../core/stats.ts";
import { createTap, editModel, type Model } from "../onnx/index.ts";
import { defaultMemoryLimitBytes, runSegments, type WorkerRuntime } from "../runtime/index.ts";
import { type ArrayStore, createArrayStore, type StoredArray } from "./array-store.ts";
import { activationKey, type Probe, type Statistic } from "./statistic.ts";
import { absMax } from "./statistics/abs-max.ts";
import { blockCosine } from "./statistics/block-cosine.ts";
import { hessian } from "./statistics/hessian.ts";
import { meanSquare } from "./statistics/mean-square.ts";
import { outputPower } from "./statistics/output-power.ts";
import { rowFrequency } from "./statistics/row-frequency.ts";
import { unfoldedCount } from "./unfold.ts";

export { type ArrayStore, createArrayStore, type StoredArray } from "./array-store.ts";
export * from "./data/index.ts";
export type { Probe, Statistic } from "./statistic.ts";
export {
  planStreams,
  type StreamGroup,
  unmeasured,
  type WalkOptions,
  walkStreams,
} from "./streams/index.ts";

/** Everything that calibration can measure; the key is the file name. */
export const statistics = {
  absMax,
  meanSquare,
  hessian,
  rowFrequency,
  outputPower,
  blockCosine,
} satisfies { readonly [S in StatName]: Statistic<S> };

export interface CalibrateOptions<S extends StatName> extends RunOptions {
  readonly model: Model;
  readonly layers: readonly Layer[];
  readonly blocks: readonly Block[];
  readonly dataset: Dataset;
  /** Exactly these statistics are collected, of all layers or layer by layer. */
  readonly needs: NeededStats<S>;
  readonly runtime: WorkerRuntime;
  /** Of open weights and of values between segments, see `runSegments`. Default 512 MiB. */
  readonly memoryLimitBytes?: number | undefined;
  /** Takes what is measured, so that memory stays bounded; by default everything stays in memory. */
  readonly arrays?: ArrayStore | undefined;
}

/** Statistics of all layers, or of each. */
export type NeededStats<S extends StatName = StatName> =
  | readonly S[]
  | ((layer: Layer) => readonly S[]);

/** What is needed of a layer. */
export const needsOf = <S extends StatName>(needs: NeededStats<S>, layer: Layer): readonly S[] =>
  typeof needs === "function" ? needs(layer) : needs;

interface Measurement {
  readonly probe: Probe;
  readonly output: string;
  /** Over the batches so far. */
  total: Float64Array | undefined;
  batches: number;
  /** The total of all batches. */
  measured: StoredArray<Float64Array> | undefined;
}

/**
 * Measures the needed statistics of every layer over the data set.
 *
 * Cost: one forward pass in segments that fit the memory limit, plus 2·T·K² per distinct activation for `hessian`; memory: the totals.
 * Numerics: float32 inside a batch, float64 across batches, merged in batch order whatever the number of threads.
 *
 * @throws numeric - a statistic is not finite: the model overflows on this data; names the layer.
 */
export async function calibrate<S extends StatName>(
  options: CalibrateOptions<S>,
): Promise<ReadonlyMap<LayerId, LayerStats<S>>> {
  const { model, layers, blocks, dataset, needs, signal, onEvent } = options;
  const arrays = options.arrays ?? createArrayStore(Number.POSITIVE_INFINITY);
  const isNeeded = layers.some((layer) => needsOf(needs, layer).length > 0);
  if (!isNeeded) return new Map(layers.map((layer) => [layer.id, emptyStats(layer)]));
  const editor = editModel(model);
  const tap = createTap(editor);
  const measurements = new Map<string, Measurement>();
  const plan = layers.map((layer) => {
    const measure = (owner: string, probe: Probe): Measurement => {
      const key = `${owner} ${probe.key}`;
      const known = measurements.get(key);
      if (known) return known;
      const made = {
        probe,
        output: tap.expose(tap.op("Identity", [probe.emit(tap)]), undefined),
        total: undefined,
        batches: 0,
        measured: undefined,
      };
      measurements.set(key, made);
      return made;
    };
    const rows = rowCounters(layer, model).map((probe) => measure("rows", probe));
    const found = needsOf(needs, layer).map((name) => ({
      name,
      measured: statistics[name]
        .probes(layer, { model, blocks })
        .map((probe) => measure(name, probe)),
    }));
    return { layer, rows, found };
  });
  const all = [...measurements.values()];
  const byOutput = new Map(all.map((entry) => [entry.output, entry]));
  await runSegments({
    runtime: options.runtime,
    original: model,
    models: [{ model: editor.commit(), fetch: [...byOutput.keys()] }],
    dataset,
    memoryLimitBytes: options.memoryLimitBytes ?? defaultMemoryLimitBytes,
    signal,
    step: "a forward pass",
    onResults(results) {
      for (const [output, { data }] of Object.entries(results)) {
        const entry = byOutput.get(output) as Measurement;
        entry.total = entry.probe.merge(entry.total, data);
        if (++entry.batches < dataset.batches) continue;
        entry.measured = arrays.put(entry.total);
        entry.total = undefined;
      }
    },
    onProgress: (done, total) => onEvent?.({ type: "progress", stage: "calibrate", done, total }),
  });
  const shared = new Map<string, () => unknown>();
  const stats = plan.map(({ layer, rows, found }) => collect(layer, rows, found, shared, arrays));
  for (const { measured } of all) measured?.drop();
  return new Map(stats.map((entry) => [entry.layer, entry]));
}

/** Every layer's rows are counted: the first axes of its activation, or the measured positions of its window. */
function rowCounters(layer: Layer, model: Model): Probe[] {
  const { groups, k } = layer;
  return layer.uses.map(({ activation, window, ...use }) => ({
    key: activationKey(model, { activation, window, ...use }),
    emit: (tap) =>
      window ? unfoldedCount(tap, activation, window, groups * k) : tap.op("Size", [activation]),
    merge: (total, [size]) =>
      Float64Array.of(
        (total?.[0] ?? 0) + Number(size) / (window || use.opType === "Gather" ? 1 : k),
      ),
  }));
}

function emptyStats<S extends StatName>(layer: Layer): LayerStats<S> {
  return { layer: layer.id, tokens: 0 } as LayerStats<S>;
}

function collect<S extends StatName>(
  layer: Layer,
  rows: readonly Measurement[],
  found: readonly { readonly name: S; readonly measured: readonly Measurement[] }[],
  shared: Map<string, () => unknown>,
  arrays: ArrayStore,
): LayerStats<S> {
  const count = (uses: (opType: string) => boolean) =>
    rows.reduce(
      (sum, { measured }, i) => sum + (uses(layer.uses[i].opType) ? (measured?.read()[0] ?? 0) : 0),
      0,
    );
  // Rows that were multiplied decide; a table that is only gathered from has nothing but its indices.
  const tokens = count((opType) => opType !== "Gather") || count(() => true);
  const stats = { layer: layer.id, tokens };
  for (const { name, measured } of found) {
    const read = measured.length > 0 && tokens > 0 ? finish(name, measured) : () => undefined;
    // Large values are read when they are asked for.
    Object.defineProperty(stats, name, { get: read, enumerable: true });
  }
  return stats as LayerStats<S>;

  function finish(name: S, measured: readonly Measurement[]): () => unknown {
    // Layers with the same measurements get the same value: one Hessian, and one factor of it, for q, k and v.
    const key = `${name} ${measured.map(({ output }) => output).join()}`;
    const known = shared.get(key);
    if (known) return known;
    const totals = measured.map((entry) => entry.measured?.read() ?? new Float64Array());
    if (!totals.every(allFinite)) {
      throw new BitloomError(
        "numeric",
        `The ${name} of layer "${layer.id}" is not finite: its activations overflow on the calibration data. Check the data, or use methods that need no activations: --scorer weight-error --quantizer rtn.`,
        { layer: layer.id, step: name },
      );
    }
    const value: unknown = statistics[name].finish(totals, tokens, layer);
    const isArray = value instanceof Float64Array || value instanceof Float32Array;
    const read = isArray ? arrays.put(value).read : () => value;
    shared.set(key, read);
    return read;
  }
}
