/**
 * Made-up feeds for a model without calibration data: enough to run it, not enough to trust statistics.
 * Invariant: sample i depends on the seed and i only; the dataset always carries a `synthetic-calibration` notice.
 */
import type { Dataset, TokenWindow } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";
import { createRandom, type Random } from "../../core/random.ts";
import { elementCount } from "../../core/tensor.ts";
import { gatheredRows } from "../../onnx/portable.ts";
import type { Graph, ValueInfo } from "../../onnx/types.ts";
import { createDataset, fingerprintOf } from "./dataset.ts";
import { describeInput, feedFrom, isFeedDType, type NumericFeed } from "./feeds.ts";
import type { ImageSize } from "./image-size.ts";
import { checkLanguageModel, languageModelFeeds } from "./lm-feeds.ts";
import { type LanguageModelInputs, languageModelInputs } from "./lm-inputs.ts";
import { plainProtocol } from "./protocol.ts";

export interface SyntheticOptions {
  readonly graph: Graph;
  readonly seed: number;
  /** Samples; default 64. */
  readonly rows?: number | undefined;
  /** Tokens per sample of a language model where the graph leaves it open; default 64. */
  readonly window?: number | undefined;
  /** Samples per batch of a language model where the graph leaves it open; default 4. */
  readonly batchSize?: number | undefined;
  readonly vocabularySize?: number | undefined;
  /** Of images whose height and width the graph leaves open. */
  readonly imageSize?: ImageSize | undefined;
}

const defaultRows = 64;
const defaultSequence = 64;
const defaultBatchSize = 4;
/** Height and width: a multiple of 32, the usual total stride of image networks. */
const defaultSize: ImageSize = [64, 64];
/** The size of most networks that call their input so, and that accept no other. */
const pixelValuesSize: ImageSize = [224, 224];
/** Ids every model has, for graphs that do not tell their vocabulary. */
const assumedVocabulary = 256;

const notices = [
  {
    code: "synthetic-calibration",
    message:
      "No calibration data was given: statistics and quality come from random inputs and say little about real use. Give real data with --calibration.",
  },
] as const;

/**
 * Random feeds from the graph's inputs alone: ids uniform over the vocabulary for language models; else floats
 * normal(0, 1), integers uniform over the table they index (0 or 1 where they index none), masks and booleans 1.
 *
 * @throws bad-data - an input whose element type or rank is unknown.
 */
export function syntheticDataset(options: SyntheticOptions): Dataset {
  const inputs = languageModelInputs(options.graph);
  return inputs && inputs.unknown.length === 0
    ? randomTokens(options, inputs)
    : randomTensors(options);
}

function randomTokens(options: SyntheticOptions, inputs: LanguageModelInputs): Dataset {
  const { graph, seed } = options;
  const batchSize = inputs.fixedBatch ?? options.batchSize ?? defaultBatchSize;
  // A fixed batch leaves no smaller last one: made-up samples are free, so the last batch is filled.
  const unit = inputs.fixedBatch ?? 1;
  const rows = Math.ceil((options.rows ?? defaultRows) / unit) * unit;
  const window = options.window ?? inputs.fixedSequence ?? defaultSequence;
  checkLanguageModel(inputs, window);
  const vocabulary = options.vocabularySize ?? inputs.vocabularySize ?? assumedVocabulary;
  const protocol = plainProtocol(window, "none");
  return createDataset(
    {
      description: `${rows} synthetic samples of ${window} random tokens`,
      kind: "synthetic",
      graph,
      protocol,
      notices,
      samples: rows,
      batchSize,
      wholeBatches: inputs.fixedBatch !== undefined,
      fingerprint: fingerprintOf({ seed, rows, window, vocabulary, inputs: graph.inputs }),
      read(samples) {
        const windows = samples.map((sample): TokenWindow => {
          const random = sampleRandom(seed, sample);
          const ids = Int32Array.from({ length: window + 1 }, () => random.integer(vocabulary));
          return { ids, scoreFrom: 0 };
        });
        return { feeds: languageModelFeeds(graph, inputs, windows), windows };
      },
    },
    rows,
  );
}

function randomTensors(options: SyntheticOptions): Dataset {
  const { graph, seed, rows = defaultRows } = options;
  const required = graph.inputs.filter(({ name }) => !graph.initializers.has(name));
  const plans = required.map((info) => ({ info, shape: inputShape(info, options.imageSize) }));
  return createDataset(
    {
      description: `${rows} synthetic samples`,
      kind: "synthetic",
      graph,
      notices,
      samples: rows,
      batchSize: 1,
      wholeBatches: false,
      fingerprint: fingerprintOf({ seed, rows, plans }),
      read([sample]) {
        const random = sampleRandom(seed, sample);
        const feeds: Record<string, NumericFeed> = {};
        for (const { info, shape } of plans)
          feeds[info.name] = randomTensor(graph, info, shape, random);
        return { feeds };
      },
    },
    rows,
  );
}

/** Neighbouring seeds and samples must not share a stream: 2^32 divided by the golden ratio spreads them. */
function sampleRandom(seed: number, sample: number): Random {
  return createRandom(createRandom(seed).integer(2 ** 32) + Math.imul(sample, 0x9e3779b9));
}

function randomTensor(
  graph: Graph,
  info: ValueInfo,
  shape: readonly number[],
  random: Random,
): NumericFeed {
  const { name, dtype } = info;
  if (!isFeedDType(dtype)) throw unknownInput(info);
  const count = elementCount(shape);
  const isFloat = dtype.startsWith("float");
  const table = gatheredRows(graph, name) ?? 2;
  const draw = (): number => {
    if (dtype === "bool" || /mask/i.test(name)) return 1;
    if (/len(gth)?s?$/i.test(name) && !isFloat) return defaultSequence;
    return isFloat ? random.normal() : random.integer(table);
  };
  return feedFrom(name, dtype, shape, Array.from({ length: count }, draw));
}

function inputShape(info: ValueInfo, imageSize: ImageSize | undefined): number[] {
  const dims = info.shape;
  if (!dims || !isFeedDType(info.dtype)) throw unknownInput(info);
  const size = imageSize ?? (info.name === "pixel_values" ? pixelValuesSize : defaultSize);
  return dims.map((dim, axis) =>
    typeof dim === "number" ? dim : openDimension(dim, axis, dims, size),
  );
}

/** By name where the name tells, else by place: batch first; [batch, channels, height, width] for four dimensions. */
function openDimension(
  name: string | undefined,
  axis: number,
  dims: readonly unknown[],
  [height, width]: ImageSize,
): number {
  if (name !== undefined) {
    if (/batch/i.test(name)) return 1;
    if (/height|^h$/i.test(name)) return height;
    if (/width|^w$/i.test(name)) return width;
    if (/past/i.test(name)) return 0;
    if (/seq|len|time|token|frames/i.test(name)) return defaultSequence;
  }
  if (axis === 0) return 1;
  if (dims.length === 4) return [1, 3, height, width][axis];
  return defaultSequence;
}

function unknownInput(info: ValueInfo): BitloomError {
  const got = describeInput(info);
  return new BitloomError(
    "bad-data",
    `Cannot make up values for input "${info.name}": expected numbers of known rank, got ${got}. Give real data with --calibration.`,
    { input: info.name, expected: "numbers of known rank", got },
  );
}
