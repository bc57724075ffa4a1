/**
 * Measures the loss of the model with one weight replaced, by forward passes over the search data only. For each
 * transformer block the graph before it is run once; every candidate re-runs what comes after.
 */

import { throwIfAborted } from "../core/errors.ts";
import { type RunOptions, yieldToEventLoop } from "../core/events.ts";
import type { Feeds } from "../core/feeds.ts";
import type { Layer } from "../core/layer.ts";
import type { LossProbe, ProbeJob } from "../core/score.ts";
import type { Block } from "../core/stats.ts";

import type { Model } from "../onnx/index.ts";
import {
  type BatchSource,
  type ComparedModel,
  type Loss,
  type Runtime,
  runBatches,
} from "../runtime/index.ts";
import { frontierOf, prefixModel, type Suffix, suffixModel } from "./suffix.ts";

export interface ProbeOptions extends RunOptions {
  readonly model: Model;
  readonly blocks: readonly Block[];
  readonly dataset: BatchSource;
  readonly loss: Loss;
  readonly runtime: Runtime;
}

/**
 * @returns a probe whose losses are over all search data (`Loss.overall`), in the loss's unit; 0 is the float model.
 *
 * Cost: per block one prefix pass and, per candidate, one pass of the suffix. Memory: the block's frontier values and
 * the reference values of all search batches.
 */
export async function createLossProbe(options: ProbeOptions): Promise<LossProbe> {
  const { model, loss, dataset, signal } = options;
  const compared = loss.compare(model, false);
  const reference = loss.reference(model);
  const references = await collect(options, reference.model, reference.outputs);
  return {
    unit: loss.unit,
    async measure(jobs, onDone) {
      const results = new Map<ProbeJob, number[]>();
      for (const group of groupJobs(jobs, options.blocks)) {
        throwIfAborted(signal, "scoring");
        const weights = group.map(({ layer }) => layer.weight);
        const frontier = frontierOf(compared.model.graph, weights).filter(
          (value) => !compared.referenceInputs.includes(value),
        );
        const inner = frontier.filter((value) => model.graph.producer(value));
        const cached = await collect(
          options,
          inner.length > 0 ? prefixModel(model, inner) : undefined,
          inner,
        );
        const suffix = suffixModel(compared.model, weights, cached[0], compared.results);
        const floats: Feeds = Object.fromEntries(
          await Promise.all(
            group.map(async ({ layer }) => [
              layer.weight,
              layer.toStored(await layer.readWeight()),
            ]),
          ),
        );
        const batches = await Promise.all(
          cached.map(async (values, i) => {
            const named = compared.referenceInputs.map(
              (name, r) => [name, references[i][reference.outputs[r]]] as const,
            );
            const { feeds } = await dataset.batch(i);
            const all: Feeds = { ...feeds, ...values, ...floats, ...Object.fromEntries(named) };
            return suffix.feeds(all);
          }),
        );
        await runGroup({
          group,
          suffix,
          batches,
          compared,
          options,
          results,
          onDone,
        });
      }
      return jobs.map((job) => results.get(job) ?? []);
    },
  };
}

/** Values of every batch, kept. */
async function collect(
  { runtime, dataset, signal }: ProbeOptions,
  model: Model | undefined,
  fetch: readonly string[],
): Promise<Feeds[]> {
  if (!model) return Array.from({ length: dataset.batches }, () => ({}));
  const kept: Feeds[] = [];
  await runBatches({
    runtime,
    model,
    dataset,
    fetch,
    signal,
    onBatch: (results) => kept.push(results),
  });
  return kept;
}

/** Jobs of one transformer block share a prefix; a job outside all blocks stands alone. */
function groupJobs(jobs: readonly ProbeJob[], blocks: readonly Block[]): ProbeJob[][] {
  const groups = new Map<string, ProbeJob[]>();
  for (const job of jobs) {
    const block = blocks.find(({ layers }) => layers.includes(job.layer.id));
    const key = block?.name ?? job.layer.id;
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  return [...groups.values()];
}

interface GroupRun {
  readonly group: readonly ProbeJob[];
  readonly suffix: Suffix;
  readonly batches: readonly Feeds[];
  readonly compared: ComparedModel;
  readonly options: ProbeOptions;
  readonly results: Map<ProbeJob, number[]>;
  readonly onDone: ((layer: Layer) => void) | undefined;
}

/** Workers take candidates in turn; each result depends on its candidate only. */
async function runGroup(run: GroupRun): Promise<void> {
  const { group, suffix, batches, compared, options, results, onDone } = run;
  const { runtime, loss, signal } = options;
  const tasks = group.flatMap((job) =>
    job.candidates.map((candidate, index) => ({ job, candidate, index })),
  );
  for (const job of group) results.set(job, new Array<number>(job.candidates.length));
  let next = 0;
  const work = async (worker: number) => {
    const session = await runtime.open(suffix.model, { worker });
    try {
      for (let task = tasks[next++]; task; task = tasks[next++]) {
        throwIfAborted(signal, "scoring");
        await yieldToEventLoop();
        const { job, candidate, index } = task;
        const weight = job.layer.toStored(await candidate());
        const replaced = suffix.feeds({ [job.layer.weight]: weight });
        const outputs: Feeds[] = [];
        for (const feeds of batches)
          outputs.push(await session.run({ ...feeds, ...replaced }, compared.results));
        const losses = results.get(job);
        if (losses) losses[index] = Math.max(0, loss.overall(outputs));
        onDone?.(job.layer);
      }
    } finally {
      await session.release();
    }
  };
  const workers = Math.min(runtime.workers, tasks.length);
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
}
