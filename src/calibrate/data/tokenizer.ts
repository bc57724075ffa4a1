/**
 * Text to token ids with a Hugging Face `tokenizer.json`; sole importer of @huggingface/tokenizers.
 * Invariant: `encode` adds no special token; what the tokenizer would prepend is only told, in `bos`.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { BitloomError } from "../../core/errors.ts";
import { fingerprintOf } from "./dataset.ts";
import { exportFolders } from "./export-folder.ts";

/** A tokenizer as far as calibration and generation need it. */
export interface TextTokenizer {
  /** Ids of the text alone. @throws bad-data - a part of the text has no token. */
  encode(text: string): Int32Array;
  /** Text of the ids, special tokens included as they are written. */
  decode(ids: ArrayLike<number>): string;
  /** What the tokenizer's own settings put before a text (the first token, when they put several). */
  readonly bos: number | undefined;
  /** `eos_token` of tokenizer_config.json. */
  readonly eos: number | undefined;
  /** `mask_token` of tokenizer_config.json. */
  readonly mask?: number | undefined;
  /** `model_max_length` of tokenizer_config.json: most tokens of one text. */
  readonly maxLength?: number | undefined;
  /** Greatest id + 1. */
  readonly vocabularySize: number;
  /** sha256 of the files that were read, hex. */
  readonly hash: string;
}

/**
 * Loads `tokenizer.json` and, when there is one beside it, `tokenizer_config.json`.
 *
 * BOS: `add_bos_token` of the config decides when present (true: `bos_token`, false: none), else what the
 * post-processor puts before a text.
 *
 * @param path - the file, or the folder that holds it.
 * @throws bad-data - missing, unreadable, or of a kind that the tokenizer library does not know.
 */
export async function loadTokenizer(path: string): Promise<TextTokenizer> {
  const file = (await isFolder(path)) ? join(path, "tokenizer.json") : path;
  const text = await readText(file);
  const configFile = join(dirname(file), "tokenizer_config.json");
  const configText = (await exists(configFile)) ? await readText(configFile) : "{}";
  const hash = fingerprintOf({ text, configText });
  return wrap(file, parse(file, text), parse(configFile, configText), hash);
}

/**
 * Loads the tokenizer at `path`, or without one the `tokenizer.json` beside the first of the neighbours that has it, or
 * above their folder if that is called "onnx".
 *
 * @param neighbours - files: the model, the text.
 * @param reader - what needs it, for the message: "The prompt".
 * @throws bad-data - as `loadTokenizer`; none was found.
 */
export async function findTokenizer(
  path: string | undefined,
  neighbours: readonly string[],
  reader: string,
): Promise<TextTokenizer> {
  if (path !== undefined) return loadTokenizer(path);
  const folders = new Set(neighbours.flatMap(exportFolders));
  const places = [...folders].map((folder) => join(folder, "tokenizer.json"));
  for (const place of places) if (await exists(place)) return loadTokenizer(place);
  throw new BitloomError(
    "bad-data",
    `${reader} needs a tokenizer: expected ${places.map((place) => `"${place}"`).join(" or ")}, got none. Pass the model's tokenizer.json with --tokenizer.`,
    { input: reader, expected: "a tokenizer.json", got: "none" },
  );
}

type Json = Readonly<Record<string, unknown>>;

function wrap(file: string, description: Json, config: Json, hash: string): TextTokenizer {
  const tokenizer = build(file, description, config);
  const named = (token: unknown) => tokenId(tokenizer, token);
  let vocabularySize = 0;
  for (const id of tokenizer.get_vocab().values())
    vocabularySize = Math.max(vocabularySize, id + 1);
  if (vocabularySize === 0) throw badTokenizer(file, "a vocabulary", "none");
  return {
    encode(text) {
      if (text === "") return new Int32Array(0);
      const { ids, tokens } = tokenizer.encode(text, { add_special_tokens: false });
      const missing = (ids as (number | undefined)[]).indexOf(undefined);
      if (missing !== -1) {
        throw new BitloomError(
          "bad-data",
          `The tokenizer "${file}" has no token for ${JSON.stringify(tokens[missing])} and no unknown token. Remove it from the text or pass the model's own tokenizer.`,
          { input: file, expected: "a known token", got: tokens[missing] },
        );
      }
      return Int32Array.from(ids);
    },
    decode(ids) {
      if (ids.length === 0) return "";
      return tokenizer.decode(Array.from(ids), {
        clean_up_tokenization_spaces: config.clean_up_tokenization_spaces === true,
      });
    },
    bos: beginningOfSequence(tokenizer, config),
    eos: named(config.eos_token),
    mask: named(config.mask_token),
    maxLength: lengthOf(config.model_max_length),
    vocabularySize,
    hash,
  };
}

function build(file: string, description: Json, config: Json): Tokenizer {
  // The library insists on these keys; files may leave out those that are null.
  const optional = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  try {
    return new Tokenizer({ ...optional, added_tokens: [], ...description }, config);
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause);
    throw badTokenizer(file, "a Hugging Face tokenizer.json", got, cause);
  }
}

function beginningOfSequence(tokenizer: Tokenizer, config: Json): number | undefined {
  if (config.add_bos_token === false) return undefined;
  if (config.add_bos_token === true) return tokenId(tokenizer, config.bos_token);
  const probe = "\u0000text";
  const { tokens } = tokenizer.post_processor?.post_process([probe], null, true) ?? {
    tokens: [probe],
  };
  return tokens[0] === probe ? undefined : tokenId(tokenizer, tokens[0]);
}

/** Tokenizers without a limit name one near 1e30. */
function lengthOf(limit: unknown): number | undefined {
  return typeof limit === "number" && Number.isSafeInteger(limit) && limit > 0 ? limit : undefined;
}

/** Id of a token given as text or, as in older configs, as `{ content }`. */
function tokenId(tokenizer: Tokenizer, token: unknown): number | undefined {
  const content =
    typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof content === "string" ? tokenizer.token_to_id(content) : undefined;
}

function parse(file: string, text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badTokenizer(file, "JSON", "something else", cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw badTokenizer(file, "a JSON object", Array.isArray(value) ? "an array" : String(value));
  }
  return value as Json;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw badTokenizer(file, "a readable file", (cause as NodeJS.ErrnoException).code ?? "", cause);
  }
}

function badTokenizer(file: string, expected: string, got: string, cause?: unknown): BitloomError {
  return new BitloomError(
    "bad-data",
    `Cannot load the tokenizer "${file}": expected ${expected}, got ${got}. Pass the model's tokenizer.json with --tokenizer.`,
    { input: file, expected, got },
    { cause },
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
