/**
 * Calibration and evaluation data: one `Dataset` whatever the source. Opening picks the source by file extension.
 * Not here: collecting statistics or measuring quality.
 */

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import type { BosOption, Dataset, Protocol } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";
import type { Graph } from "../../onnx/types.ts";
import { findImageSize } from "./image-size.ts";
import { openManifest, openNpy } from "./manifest.ts";
import { syntheticDataset } from "./synthetic.ts";
import { defaultProtocol, requireLanguageModel, textDataset } from "./text.ts";
import { findTokenizer, type TextTokenizer } from "./tokenizer.ts";

export { validateFeeds } from "./feeds.ts";
export { windowTargets } from "./lm-feeds.ts";
export { type LanguageModelInputs, languageModelInputs } from "./lm-inputs.ts";
export { type EncodePromptOptions, encodePrompt } from "./prompt.ts";
export { describeProtocol, plainProtocol, protocols } from "./protocol.ts";
export { type SplitName, type SplitSizes, type Splits, splitDataset } from "./splits.ts";
export { textDataset } from "./text.ts";
export { streamText, type TextStream } from "./text-stream.ts";
export { findTokenizer, loadTokenizer, type TextTokenizer } from "./tokenizer.ts";

/** What `openDataset` reads, and how text is cut. */
export interface OpenDatasetOptions {
  readonly graph: Graph;
  /** Text (any extension not named here), .jsonl manifest or .npy array; undefined makes up random inputs. */
  readonly path?: string | undefined;
  /** A loaded tokenizer or the path of its tokenizer.json; default the one beside the model or the text. */
  readonly tokenizer?: TextTokenizer | string | undefined;
  /** Where the model was opened, to look for tokenizer.json beside it. */
  readonly modelPath?: string | undefined;
  /** Text only: how windows are cut. Excludes `window` and `bos`. */
  readonly protocol?: Protocol | undefined;
  /** Tokens per window; default the graph's fixed sequence length, else 256 or what the tokenizer allows. */
  readonly window?: number | undefined;
  /** BOS of the default protocol; default "auto". */
  readonly bos?: BosOption | undefined;
  /** At most this many samples. */
  readonly rows?: number | undefined;
  /** Samples per batch of a language model where the graph leaves it open; default 4. */
  readonly batchSize?: number | undefined;
  /** Seed of synthetic inputs; default 0. */
  readonly seed?: number | undefined;
  /** Overrides the vocabulary size read from the graph. */
  readonly vocabularySize?: number | undefined;
}

/**
 * Opens calibration or evaluation data for a graph.
 *
 * @throws bad-data - unreadable or unfit data, no tokenizer for a text; names file and input.
 * @throws bad-option - `protocol` together with `window` or `bos`; lengths that make no window.
 */
export async function openDataset(options: OpenDatasetOptions): Promise<Dataset> {
  const { path, graph, rows, window, batchSize, vocabularySize } = options;
  if (options.protocol && (window !== undefined || options.bos !== undefined)) {
    throw new BitloomError(
      "bad-option",
      `Option protocol: "${options.protocol.name}" already says window and BOS, got them again. Leave window and bos out.`,
      { option: "protocol", got: options.protocol.name },
    );
  }
  if (path === undefined) {
    const seed = options.seed ?? 0;
    const length = options.protocol?.window ?? window;
    const imageSize = await findImageSize(options.modelPath);
    const sizes = { window: length, batchSize, vocabularySize, imageSize };
    return syntheticDataset({ graph, seed, rows, ...sizes });
  }
  const extension = extname(path).toLowerCase();
  if (extension === ".jsonl") return openManifest(path, { graph, rows });
  if (extension === ".npy") return openNpy(path, { graph, rows });
  if (extension === ".json" || extension === ".npz") {
    throw new BitloomError(
      "bad-data",
      `Cannot read "${path}": expected text, a .jsonl manifest or a .npy array, got ${extension}. Write one JSON object per line, or save each array on its own.`,
      { input: path, expected: "text, .jsonl or .npy", got: extension },
    );
  }
  const text = await readText(path);
  requireLanguageModel(graph);
  const { tokenizer: given, modelPath = path } = options;
  const tokenizer =
    typeof given === "object"
      ? given
      : await findTokenizer(given, [modelPath, path], `The text "${path}"`);
  const protocol =
    options.protocol ?? defaultProtocol(graph, { tokenizer, window, bos: options.bos });
  const label = basename(path);
  return textDataset(text, { graph, tokenizer, protocol, batchSize, rows, vocabularySize, label });
}

async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new BitloomError(
      "bad-data",
      `Cannot read "${path}": expected UTF-8 text, got ${got}. Check the path and the encoding.`,
      { input: path, expected: "UTF-8 text", got },
      { cause },
    );
  }
}
