/**
 * Feeds for generated (and any equally named) transformers, read off the graph's declared inputs.
 */
import type { Feeds, FeedTensor } from "../../../src/core/feeds.ts";
import { createRandom } from "../../../src/core/random.ts";
import { toFloat16Bits } from "../../../src/core/tensor.ts";
import type { Model, ValueInfo } from "../../../src/onnx/index.ts";

export interface DecoderFeedOptions {
  readonly batch?: number;
  /** New tokens. */
  readonly sequence?: number;
  /** Tokens in the cache, filled with random keys and values unless `cache` is given. */
  readonly past?: number;
  readonly seed?: number;
  /** Token ids [batch][sequence]; random ones by default. */
  readonly ids?: readonly (readonly number[])[];
  /** Outputs of the run before: its present.* become this run's past_key_values.*, and `past` follows. */
  readonly cache?: Feeds;
  /** Leading padding of each sample, counted over past and new tokens. */
  readonly leftPadding?: readonly number[];
}

/** Feeds of a decoder: whatever of input_ids, attention_mask, position_ids, past_key_values.* it takes. */
export function decoderFeeds(model: Model, options: DecoderFeedOptions = {}): Feeds {
  const { ids, cache, leftPadding = [], seed = 1 } = options;
  const batch = ids?.length ?? options.batch ?? 1;
  const sequence = ids?.[0].length ?? options.sequence ?? 8;
  const past = cache ? pastOf(cache) : (options.past ?? 0);
  const random = createRandom(seed);
  const bound = vocabularyOf(model);
  const tokens =
    ids?.flat() ?? Array.from({ length: batch * sequence }, () => random.integer(bound));
  const total = past + sequence;
  const padding = (row: number) => leftPadding[row] ?? 0;
  const place = (row: number, i: number) => past + i - padding(row);
  const ints = (width: number, value: (row: number, i: number) => number): FeedTensor => ({
    dtype: "int64",
    shape: [batch, width],
    data: BigInt64Array.from({ length: batch * width }, (_, at) =>
      BigInt(value(Math.floor(at / width), at % width)),
    ),
  });
  const feeds: Record<string, FeedTensor> = {};
  for (const input of model.graph.inputs) {
    const { name } = input;
    if (name === "input_ids") feeds[name] = ints(sequence, (b, i) => tokens[b * sequence + i]);
    else if (name === "attention_mask") feeds[name] = ints(total, (b, i) => +(i >= padding(b)));
    // Any position would do for padding, but rotary tables may be cut to the tokens so far.
    else if (name === "position_ids") {
      feeds[name] = ints(sequence, (b, i) => Math.max(0, place(b, i)));
    } else if (name.startsWith("past_key_values.")) {
      const present = cache?.[name.replace("past_key_values", "present")];
      feeds[name] = present ?? randomCache(input, batch, past, random.normal);
    } else throw new Error(`a decoder's feeds have no value for its input "${name}"`);
  }
  return feeds;
}

export interface EncoderFeedOptions {
  readonly batch?: number;
  readonly sequence?: number;
  readonly seed?: number;
  /** Tokens of each sample; the rest is padding on the right. Default: all of them. */
  readonly lengths?: readonly number[];
  /** Bound of the token ids; default 100. */
  readonly vocabulary?: number;
}

/** Feeds of an encoder: whatever of input_ids, attention_mask, token_type_ids it takes. */
export function encoderFeeds(model: Model, options: EncoderFeedOptions = {}): Feeds {
  const { batch = 1, sequence = 8, seed = 1, lengths = [], vocabulary = 100 } = options;
  const random = createRandom(seed);
  const values: Record<string, (row: number, i: number) => number> = {
    input_ids: () => random.integer(vocabulary),
    attention_mask: (row, i) => +(i < (lengths[row] ?? sequence)),
    token_type_ids: (_, i) => +(i >= sequence / 2),
  };
  return Object.fromEntries(
    model.graph.inputs.map(({ name }) => {
      const data = BigInt64Array.from({ length: batch * sequence }, (_, at) =>
        BigInt(values[name](Math.floor(at / sequence), at % sequence)),
      );
      return [name, { dtype: "int64", shape: [batch, sequence], data }];
    }),
  );
}

/** Width of the logits. */
function vocabularyOf({ graph }: Model): number {
  const width = graph.outputs.find(({ name }) => name === "logits")?.shape?.at(-1);
  if (typeof width !== "number") throw new Error("a decoder's logits need a fixed width");
  return width;
}

function pastOf(cache: Feeds): number {
  const [, first] = Object.entries(cache).find(([name]) => name.startsWith("present.")) ?? [];
  if (!first) throw new Error("the run before has no present.* outputs");
  return first.shape[2];
}

function randomCache(
  { dtype, shape }: ValueInfo,
  batch: number,
  past: number,
  normal: () => number,
): FeedTensor {
  const [, heads, , width] = shape ?? [];
  if (typeof heads !== "number" || typeof width !== "number") {
    throw new Error("a cache input needs a fixed number of heads and head size");
  }
  const length = batch * heads * past * width;
  const values = Float32Array.from({ length }, normal);
  const data = dtype === "float16" ? Uint16Array.from(values, toFloat16Bits) : values;
  return { dtype: dtype ?? "float32", shape: [batch, heads, past, width], data };
}
