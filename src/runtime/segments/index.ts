/**
 * Runs models over a data set in bounded memory: segment after segment, all batches through one before the next is
 * opened; between segments values are kept. Several models run side by side, the first of which may feed the others.
 * Invariant: results come in batch order and do not depend on the number of workers. They are those of whole models,
 * but for last bits: ONNX Runtime fuses differently where a graph is cut.
 */
import { throwIfAborted } from "../../core/errors.ts";
import type { Feeds, FeedTensor } from "../../core/feeds.ts";
import type { Model } from "../../onnx/index.ts";
import { openAll } from "../open-all.ts";
import { aheadOf, type BatchSource, inOrder } from "../run-batches.ts";
import type { ChainedRun, Session, WorkerRuntime } from "../runtime.ts";
import { keptLimitBytes, modelsFor, segmentBytes, threadsFor, workersFor } from "./budget.ts";
import { type Cuts, planCuts } from "./cuts.ts";
import { buildPart, type Part, segmentsOf, splitModel } from "./parts.ts";
import { ValueStore } from "./value-store.ts";

export {
  defaultMemoryLimitBytes,
  keptLimitBytes,
  leastCopies,
  segmentBytes,
  threadsFor,
  workersFor,
} from "./budget.ts";
export { planCuts } from "./cuts.ts";
export { ValueStore } from "./value-store.ts";

export interface LinkedModel<B = object> {
  readonly model: Model;
  /** Values that the caller wants. */
  readonly fetch: readonly string[];
  /** Inputs that a fetched value of the first model feeds, by the input's name; the first model has none. */
  readonly links?: ReadonlyMap<string, string> | undefined;
  /** Feeds beside the data set's. */
  readonly feeds?: ((batch: B) => Feeds) | undefined;
}

export interface RunSegments<B extends { readonly feeds: Feeds }> {
  readonly runtime: WorkerRuntime;
  /** The model whose weights and values decide where all are cut. */
  readonly original: Model;
  readonly models: readonly LinkedModel<B>[];
  readonly dataset: BatchSource<B>;
  /** Of open weights, half as much of values between segments. One segment that is larger by itself runs nevertheless. */
  readonly memoryLimitBytes: number;
  readonly signal: AbortSignal | undefined;
  /** What is interrupted, for the error. */
  readonly step: string;
  /**
   * Wanted values of one model and batch; those of one segment come together, in the order of batches. What only feeds
   * other models does not come.
   */
  onResults(results: Feeds, model: number, batch: B): void;
  onProgress?(done: number, total: number): void;
}

/**
 * Cost: one pass of each model over the data; where models do not fit beside each other the first one's last segment
 * runs again for each group. Memory: see `budget.ts`, and the results of a batch per worker.
 *
 * @throws aborted - between batches. output - no room for temporary files. What a session, the data or callbacks throw.
 */
export async function runSegments<B extends { readonly feeds: Feeds }>(
  options: RunSegments<B>,
): Promise<void> {
  const { runtime, original, models, dataset, memoryLimitBytes, onProgress } = options;
  const workers = Math.min(runtime.workers, dataset.batches);
  const cuts = planCuts(original.graph, segmentBytes(memoryLimitBytes));
  const runs = planRuns(models, cuts);
  const store = new ValueStore(keptLimitBytes(memoryLimitBytes));
  const total = cuts.count * dataset.batches;
  try {
    for (const [segment, bytes] of cuts.bytes.entries()) {
      const own = workersFor(bytes, memoryLimitBytes, workers);
      const threads = threadsFor(own, workers);
      const groups = groupRuns(runs, segment, modelsFor(bytes, memoryLimitBytes, own));
      for (const [g, entries] of groups.entries()) {
        const onBatch = (done: number) =>
          onProgress?.(
            segment * dataset.batches + Math.floor((g * dataset.batches + done) / groups.length),
            total,
          );
        await runGroup({ ...options, store, entries, segment, workers: own, threads, onBatch });
      }
      for (const { index, parts } of runs) {
        for (const value of parts[segment].finished) {
          for (let batch = 0; batch < dataset.batches; batch++)
            await store.drop(index, batch, value);
        }
      }
    }
  } finally {
    await store.close();
  }
}

interface ModelRun<B> {
  readonly index: number;
  readonly linked: LinkedModel<B>;
  readonly parts: readonly Part[];
  /** Wanted values that do not only feed other models. */
  readonly reported: ReadonlySet<string>;
  /** Of the kept values, known once they have been computed. */
  readonly types: Map<string, Pick<FeedTensor, "dtype" | "shape">>;
}

function planRuns<B>(models: readonly LinkedModel<B>[], cuts: Cuts): ModelRun<B>[] {
  const own = segmentsOf(models[0].model, cuts);
  /** By value of the first model: the last segment in which another one reads it. */
  const heldUntil = new Map<string, number>();
  const segments = models.map(({ model, links = new Map<string, string>() }, index) => {
    if (index === 0) return own;
    const inputs = new Map([...links].map(([input, output]) => [input, own.get(output) ?? 0]));
    const found = segmentsOf(model, cuts, inputs);
    for (const [input, output] of links) {
      const readers = model.graph.uses(input).flatMap(({ node }) => node.outputs);
      const read = readers.map((value) => found.get(value) ?? 0);
      heldUntil.set(output, Math.max(heldUntil.get(output) ?? 0, ...read));
    }
    return found;
  });
  return models.map((linked, index): ModelRun<B> => {
    const held = index === 0 ? heldUntil : new Map<string, number>();
    return {
      index,
      linked,
      parts: splitModel(linked.model, cuts.count, segments[index], linked.fetch, held),
      reported: new Set(linked.fetch.filter((value) => !held.has(value))),
      types: new Map(),
    };
  });
}

interface Entry<B> {
  readonly run: ModelRun<B>;
  readonly part: Part;
  /** Its results have come already: it runs once more to feed the others. */
  readonly repeats: boolean;
}

/** Models that are open together; the first model is in every group that it feeds. */
function groupRuns<B>(runs: readonly ModelRun<B>[], segment: number, size: number): Entry<B>[][] {
  const active = runs
    .map((run) => ({ run, part: run.parts[segment], repeats: false }))
    .filter(({ part }) => part.kept.length + part.results.length > 0);
  const first = active.find(({ run }) => run.index === 0);
  const isFed = ({ run, part }: Entry<B>) =>
    first !== undefined && run !== first.run && directLinks(run, part, first.part).length > 0;
  const fed = active.filter(isFed);
  if (!first || fed.length === 0) return chunks(active, size);
  const groups = chunks(fed, size - 1).map((group, g) => [{ ...first, repeats: g > 0 }, ...group]);
  const others = active.filter((entry) => entry !== first && !isFed(entry));
  return [...groups, ...chunks(others, size)];
}

const chunks = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );

/** Inputs of a part, with the values of the first model that it computes in the same segment. */
const directLinks = <B>({ linked }: ModelRun<B>, part: Part, first: Part): [string, string][] =>
  [...(linked.links ?? [])].filter(
    ([input, output]) => part.inputs.includes(input) && first.results.includes(output),
  );

interface GroupRun<B extends { readonly feeds: Feeds }> extends RunSegments<B> {
  readonly store: ValueStore;
  readonly entries: readonly Entry<B>[];
  readonly segment: number;
  readonly workers: number;
  readonly threads: number;
  onBatch(done: number): void;
}

async function runGroup<B extends { readonly feeds: Feeds }>(run: GroupRun<B>): Promise<void> {
  const { runtime, entries, workers, threads, dataset, signal, step } = run;
  const sessions: Session[][] = [];
  try {
    for (const { run, part } of entries) {
      const model = buildPart(run.linked.model, part, run.types);
      const wanted = Array.from({ length: workers }, (_, worker) => ({ model, worker, threads }));
      sessions.push(await openAll(runtime, wanted));
      throwIfAborted(signal, step);
    }
    await inOrder({
      count: dataset.batches,
      ahead: aheadOf(workers),
      async start(index) {
        throwIfAborted(signal, step);
        const batch = await dataset.batch(index);
        const own = sessions.map((perWorker) => perWorker[index % workers]);
        return { batch, results: await runBatch(run, batch, index, own) };
      },
      use({ batch, results }, index) {
        throwIfAborted(signal, step);
        for (const [
          e,
          {
            run: { index: model },
            repeats,
          },
        ] of entries.entries()) {
          if (!repeats && Object.keys(results[e]).length > 0)
            run.onResults(results[e], model, batch);
        }
        run.onBatch(index + 1);
      },
    });
  } finally {
    await Promise.allSettled(sessions.flat().map((session) => session.release()));
  }
}

/** One batch through the group; keeps what later segments read and returns what the caller wants. */
async function runBatch<B extends { readonly feeds: Feeds }>(
  { runtime, entries, store }: GroupRun<B>,
  batch: B,
  index: number,
  sessions: readonly Session[],
): Promise<Feeds[]> {
  const chain: ChainedRun[] = [];
  for (const [e, { run, part, repeats }] of entries.entries()) {
    const { linked } = run;
    const direct = new Map(e > 0 ? directLinks(run, part, entries[0].part) : []);
    const given: Feeds = { ...batch.feeds, ...linked.feeds?.(batch) };
    const feeds: Record<string, FeedTensor> = {};
    for (const name of part.inputs) {
      const link = linked.links?.get(name);
      if (direct.has(name)) continue;
      if (link !== undefined) feeds[name] = await store.get(0, index, link);
      else if (run.linked.model.graph.producer(name))
        feeds[name] = await store.get(run.index, index, name);
      else if (given[name]) feeds[name] = given[name];
    }
    const links = new Map([...direct].map(([input, output]) => [input, { run: 0, output }]));
    const wanted = part.results.filter((value) => run.reported.has(value));
    const fetch = repeats ? [] : [...new Set([...part.kept, ...wanted])];
    chain.push({ session: sessions[e], feeds, fetch, links });
  }
  const outputs = await runtime.runChain(chain);
  for (const [e, { run, part, repeats }] of entries.entries()) {
    if (repeats) continue;
    for (const name of part.kept) {
      await store.put(run.index, index, name, outputs[e][name]);
      const { dtype, shape } = outputs[e][name];
      run.types.set(name, { dtype, shape });
    }
  }
  return outputs.map((values, e) =>
    Object.fromEntries(
      Object.entries(values).filter(
        ([name]) => entries[e].run.reported.has(name) && entries[e].part.results.includes(name),
      ),
    ),
  );
}
