/**
 * A dataset: samples that can be fed to one graph, in batches. Every source (text, manifest, synthetic) makes one.
 * Invariant: a batch depends on its index only; asking twice gives the same values.
 */
import { createHash } from "node:crypto";
import type { Batch, Dataset, Protocol } from "../../core/dataset.ts";
import { BitloomError, invariant } from "../../core/errors.ts";
import type { Notice } from "../../core/events.ts";
import type { Graph } from "../../onnx/types.ts";
import { validateFeeds } from "./feeds.ts";

/** What a source provides; `createDataset` adds batching, checking and selection. */
export interface SampleSource {
  readonly description: string;
  readonly kind: Dataset["kind"];
  readonly graph: Graph;
  readonly protocol?: Protocol | undefined;
  readonly notices?: readonly Notice[] | undefined;
  readonly samples: number;
  readonly overlap?: number | undefined;
  readonly batchSize: number;
  /** True when the graph fixes the batch dimension: a last, smaller batch is left out. */
  readonly wholeBatches: boolean;
  readonly fingerprint: string;
  read(samples: readonly number[]): Promise<Omit<Batch, "samples">> | Omit<Batch, "samples">;
}

/**
 * Makes a dataset of a source's first samples.
 *
 * @param rows - at most this many samples; all when undefined.
 * @throws bad-data - no batch can be made. bad-option - `rows` or the batch size is no positive whole number.
 */
export function createDataset(source: SampleSource, rows?: number): Dataset {
  checkCount("rows", rows);
  checkCount("batchSize", source.batchSize);
  const samples = Math.min(source.samples, rows ?? source.samples);
  return view(
    source,
    Array.from({ length: samples }, (_, index) => index),
  );
}

function checkCount(option: string, count: number | undefined): void {
  if (count === undefined || (Number.isInteger(count) && count > 0)) return;
  throw new BitloomError(
    "bad-option",
    `Option ${option}: expected a whole number of samples from 1, got ${count}.`,
    { option, got: String(count) },
  );
}

function view(source: SampleSource, indices: readonly number[]): Dataset {
  const { batchSize, wholeBatches } = source;
  const batches = wholeBatches
    ? Math.floor(indices.length / batchSize)
    : Math.ceil(indices.length / batchSize);
  if (batches === 0) {
    const least = wholeBatches ? batchSize : 1;
    throw new BitloomError(
      "bad-data",
      `Too few samples in ${source.description}: expected at least ${least} (the model's batch), got ${indices.length}. Give more data.`,
      { input: source.description, expected: `${least} samples`, got: `${indices.length}` },
    );
  }
  const samples = wholeBatches ? batches * batchSize : indices.length;
  return {
    description: source.description,
    kind: source.kind,
    protocol: source.protocol,
    notices: source.notices ?? [],
    samples,
    overlap: source.overlap ?? 0,
    batches,
    async batch(index) {
      invariant(Number.isInteger(index) && index >= 0 && index < batches, `no batch ${index}`);
      const chosen = indices.slice(index * batchSize, Math.min(samples, (index + 1) * batchSize));
      const batch = await source.read(chosen);
      validateFeeds(batch.feeds, source.graph, source.description);
      return { ...batch, samples: chosen.length };
    },
    fingerprint: fingerprintOf({ source: source.fingerprint, indices: indices.slice(0, samples) }),
    select(chosen) {
      invariant(
        chosen.every((sample) => sample >= 0 && sample < samples),
        "selected sample exists",
      );
      return view(
        source,
        chosen.map((sample) => indices[sample]),
      );
    },
  };
}

/** sha256, hex, of bytes or of a JSON-safe value (in its own key order). */
export function fingerprintOf(value: Uint8Array | object): string {
  const bytes = value instanceof Uint8Array ? value : JSON.stringify(value);
  return createHash("sha256").update(bytes).digest("hex");
}
