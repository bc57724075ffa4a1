/**
 * Datasets of token windows: a text, its tokenizer and a protocol, for one language model.
 * Invariant: the token stream is the tokenizer's encoding of the whole text; it is never cut before encoding.
 */
import type { BosOption, Dataset, Protocol } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";
import type { Notice } from "../../core/events.ts";
import { bytesOf } from "../../core/tensor.ts";
import { findLogits } from "../../onnx/portable.ts";
import type { Graph } from "../../onnx/types.ts";
import { createDataset, fingerprintOf } from "./dataset.ts";
import { describeInputs } from "./feeds.ts";
import { checkLanguageModel, languageModelFeeds } from "./lm-feeds.ts";
import { type LanguageModelInputs, languageModelInputs } from "./lm-inputs.ts";
import {
  checkProtocol,
  cutWindows,
  describeProtocol,
  plainProtocol,
  windowOverlap,
} from "./protocol.ts";
import type { TextTokenizer } from "./tokenizer.ts";

export interface TextOptions {
  readonly graph: Graph;
  readonly tokenizer: TextTokenizer;
  /** Default: `defaultProtocol`. */
  readonly protocol?: Protocol | undefined;
  /** Windows per batch where the graph leaves it open; default 4. */
  readonly batchSize?: number | undefined;
  /** Only the first so many windows. */
  readonly rows?: number | undefined;
  /** Overrides the vocabulary size read from the graph. */
  readonly vocabularySize?: number | undefined;
  /** What the text is, for messages and reports; default "text". */
  readonly label?: string | undefined;
}

const defaultWindow = 256;
const defaultBatchSize = 4;
/** Encoding holds some 200 bytes per character at once; more text than this gains calibration nothing. */
const maxCharacters = 64 * 2 ** 20;

/**
 * Encodes a text and cuts it into windows.
 *
 * Cost: O(characters) time, about 3 µs each.
 *
 * @throws bad-data - no language model, empty text, shorter than one window, an id outside the model's vocabulary.
 * @throws bad-option - a protocol that makes no window.
 */
export function textDataset(text: string, options: TextOptions): Dataset {
  const { graph, tokenizer, label = "text" } = options;
  const inputs = requireLanguageModel(graph);
  const protocol = options.protocol ?? defaultProtocol(graph, { tokenizer });
  checkProtocol(protocol);
  checkLanguageModel(inputs, protocol.window);
  const bos = resolveBos(protocol.bos, tokenizer);
  const ids = encodeStream(text, tokenizer, bos, label);
  const vocabularySize = options.vocabularySize ?? inputs.vocabularySize;
  checkVocabulary(ids, vocabularySize, label);
  const windows = cutWindows(ids, protocol, bos);
  return createDataset(
    {
      description: `${label}: ${ids.length} tokens, ${windows.length} ${describeProtocol(protocol)}`,
      kind: "text",
      graph,
      protocol,
      notices: noticesAbout(graph, tokenizer),
      samples: windows.length,
      overlap: windowOverlap(protocol),
      batchSize:
        inputs.fixedBatch ?? options.batchSize ?? batchSizeFor(protocol.window, vocabularySize),
      wholeBatches: inputs.fixedBatch !== undefined,
      fingerprint: fingerprintOf({ ids: fingerprintOf(bytesOf(ids)), protocol, bos: bos ?? null }),
      read(samples) {
        const chosen = samples.map((sample) => windows[sample]);
        return { feeds: languageModelFeeds(graph, inputs, chosen), windows: chosen };
      },
    },
    options.rows,
  );
}

/**
 * Consecutive windows of the graph's fixed sequence length, else of 256 predictions or what the tokenizer allows. A
 * model that predicts no next token reads every window as a text of its own, which begins with the tokenizer's first
 * token ("[CLS]").
 */
export function defaultProtocol(
  graph: Graph,
  options: {
    readonly tokenizer: TextTokenizer;
    readonly window?: number | undefined;
    readonly bos?: BosOption | undefined;
  },
): Protocol {
  const { maxLength = defaultWindow } = options.tokenizer;
  const window =
    options.window ??
    requireLanguageModel(graph).fixedSequence ??
    Math.min(defaultWindow, maxLength);
  const plain = plainProtocol(window, options.bos);
  return findLogits(graph) ? plain : { ...plain, bosEachWindow: true };
}

/** A model that sees the token it is asked for has a perplexity that says nothing. */
function noticesAbout(graph: Graph, { mask }: TextTokenizer): Notice[] {
  if (mask === undefined || !findLogits(graph)) return [];
  return [
    {
      code: "masked-language-model",
      message:
        "The tokenizer has a mask token: if the model fills masks instead of predicting the next token, its perplexity means nothing. KL divergence and agreement still say how close the models are.",
    },
  ];
}

/** The roles of the graph's inputs. @throws bad-data - it takes no token ids. */
export function requireLanguageModel(graph: Graph): LanguageModelInputs {
  const inputs = languageModelInputs(graph);
  if (inputs) return inputs;
  const got = describeInputs(graph);
  throw new BitloomError(
    "bad-data",
    `Text cannot feed this model: expected an integer input of token ids, got ${got}. Give feeds in a .jsonl manifest or a .npy file.`,
    { input: "input_ids", expected: "token ids", got },
  );
}

/** The BOS id that the option means for this tokenizer; undefined for none. */
export function resolveBos(option: BosOption, tokenizer: TextTokenizer): number | undefined {
  if (option === "auto") return tokenizer.bos;
  if (option === "none") return undefined;
  if (Number.isInteger(option) && option >= 0 && option < tokenizer.vocabularySize) return option;
  throw new BitloomError(
    "bad-option",
    `Option bos: expected auto, none or a token id below ${tokenizer.vocabularySize}, got ${option}.`,
    { option: "bos", got: String(option) },
  );
}

/**
 * Ids of the text, led by one BOS: a text that already begins with it gets no second one.
 *
 * @returns int32 [tokens].
 * @throws bad-data - empty text, or more than 64 Mi characters.
 */
export function encodeStream(
  text: string,
  tokenizer: TextTokenizer,
  bos: number | undefined,
  label = "text",
): Int32Array {
  if (text.length > maxCharacters) {
    throw new BitloomError(
      "bad-data",
      `The text of ${label} is too long: expected at most ${maxCharacters} characters, got ${text.length}. Cut the file; a few hundred windows are enough.`,
      { input: label, expected: `${maxCharacters} characters`, got: `${text.length} characters` },
    );
  }
  const ids = tokenizer.encode(text);
  if (ids.length === 0) {
    throw new BitloomError(
      "bad-data",
      `The text of ${label} is empty: expected text, got ${text.length} characters without a token. Give a text like the model's own inputs.`,
      { input: label, expected: "text", got: "no tokens" },
    );
  }
  if (bos === undefined || ids[0] === bos) return ids;
  const stream = new Int32Array(ids.length + 1);
  stream[0] = bos;
  stream.set(ids, 1);
  return stream;
}

/** @throws bad-data - an id that is not below the size. */
export function checkVocabulary(ids: Int32Array, size: number | undefined, label: string): void {
  if (size === undefined) return;
  const position = ids.findIndex((id) => id >= size);
  if (position === -1) return;
  throw new BitloomError(
    "bad-data",
    `Token ${ids[position]} at position ${position} of ${label} is outside the model's vocabulary: expected ids below ${size}, got ${ids[position]}. Pass the tokenizer that belongs to the model.`,
    { input: label, expected: `ids below ${size}`, got: `id ${ids[position]}` },
  );
}

/** Logits of one batch, float32, stay below this unless a single window has more. */
const logitsLimitBytes = 2 ** 26;

/** The default batch size, or less where the logits of so many windows would be large. */
function batchSizeFor(window: number, vocabularySize: number | undefined): number {
  const affordable = Math.floor(logitsLimitBytes / (window * (vocabularySize ?? 1) * 4));
  return Math.max(1, Math.min(defaultBatchSize, affordable));
}
