/**
 * Files that stages leave for each other (plans, scores, statistics): written whole or not at all.
 * Not here: what is in them. The model itself is written by `onnx/`.
 */
import { createHash } from "node:crypto";
import { access, readFile, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { parsePlan, serializePlan } from "../allocate/index.ts";
import { BitloomError, isBitloomError } from "../core/errors.ts";
import type { BitPlan } from "../core/plan.ts";
import { filesOf, type Model, openModel, PendingFiles } from "../onnx/index.ts";
import { checkOutput, hashFile } from "./output.ts";

/** What a written file may replace. */
export interface WriteFileOptions {
  /** Replaces an existing file. */
  readonly force?: boolean | undefined;
  /** Files that must not be overwritten whatever `force` says. */
  readonly inputs?: readonly string[] | undefined;
}

/** What a run reads and writes beside the files that its options name. */
export interface CheckOutputsOptions extends WriteFileOptions {
  /** The model that is read: its external data is an input too. */
  readonly model?: string | undefined;
  /** File or folder of the tokenizer; without it those beside the model and the data are inputs. */
  readonly tokenizer?: string | undefined;
  /** The model that is written: `<writtenModel>.data` may be its external data, so nothing else may have that name. */
  readonly writtenModel?: string | undefined;
}

/**
 * Refuses outputs that cannot or must not be written, before any work is done.
 *
 * @param outputs - every file that will be written.
 * @throws output - an output is an input or another output, exists already, or its folder does not exist.
 *
 * Cost: with `model`, reading its graph; no weight is read.
 */
export async function checkOutputs(
  outputs: readonly string[],
  options: CheckOutputsOptions = {},
): Promise<void> {
  const { force = false, writtenModel } = options;
  const inputs = [...(options.inputs ?? []), ...(await impliedInputs(options))];
  const read = await Promise.all(inputs.map(placeOf));
  const taken: string[] = [];
  if (writtenModel !== undefined) {
    const data = `${writtenModel}.data`;
    const place = await placeOf(data);
    if (read.includes(place)) {
      throw new BitloomError(
        "output",
        `"${data}", where the weights of "${writtenModel}" may go, is an input of this run, which is never altered. Choose another name.`,
        { path: writtenModel },
      );
    }
    taken.push(place);
  }
  for (const output of outputs) {
    const place = await placeOf(output);
    const refuse = (why: string) => {
      throw new BitloomError("output", `"${output}" ${why}. Choose another name.`, {
        path: output,
      });
    };
    if (read.includes(place)) refuse("is an input of this run, which is never altered");
    if (taken.includes(place)) refuse("is named for two outputs");
    taken.push(place);
    await checkOutput("", output, force);
  }
}

/** Files that are read without being named: external data, tokenizer files. */
async function impliedInputs(options: CheckOutputsOptions): Promise<string[]> {
  const { model, tokenizer, inputs = [] } = options;
  // A model that cannot be opened is an error of the run itself, with its own message.
  const opened = model === undefined ? undefined : await openModel(model).catch(() => undefined);
  const beside = [...(model === undefined ? [] : [model]), ...inputs].map(dirname);
  const folders = tokenizer === undefined ? beside : [tokenizer, dirname(tokenizer)];
  const places = [...new Set(folders)].flatMap((folder) =>
    ["tokenizer.json", "tokenizer_config.json"].map((name) => join(folder, name)),
  );
  const exists = (place: string) =>
    access(place).then(
      () => true,
      () => false,
    );
  const found = await Promise.all(places.map(exists));
  return [
    ...(model === undefined ? [] : [model]),
    ...(opened ? filesOf(opened) : []),
    ...(tokenizer === undefined ? [] : [tokenizer]),
    ...places.filter((_, i) => found[i]),
  ];
}

/** Where a path leads, whether or not there is a file yet. */
async function placeOf(path: string): Promise<string> {
  const folder = () => realpath(dirname(path)).catch(() => resolve(dirname(path)));
  return realpath(path).catch(async () => join(await folder(), basename(path)));
}

/**
 * Writes a file under a temporary name and renames it.
 *
 * @throws output - the file exists (without `force`), is an input, or cannot be written; nothing is left behind.
 */
export async function writeWhole(
  path: string,
  chunks: Iterable<Uint8Array>,
  options: WriteFileOptions = {},
): Promise<void> {
  await checkOutputs([path], options);
  const pending = new PendingFiles();
  try {
    const file = await pending.open(path);
    for (const chunk of chunks) await file.write(chunk);
    await file.close();
    await pending.commit([path]);
  } catch (cause) {
    await pending.discard();
    if (isBitloomError(cause)) throw cause;
    throw new BitloomError(
      "output",
      `Cannot write "${path}": ${cause instanceof Error ? cause.message : String(cause)}. Nothing was left behind; free space or choose another folder.`,
      { path },
      { cause },
    );
  }
}

/** Writes JSON or other text; see `writeWhole`. */
export async function writeText(
  path: string,
  text: string,
  options: WriteFileOptions = {},
): Promise<void> {
  await writeWhole(path, [new TextEncoder().encode(text)], options);
}

/**
 * Reads and parses a JSON file.
 *
 * @param option - the option that named it, for the error.
 * @throws bad-option - the file cannot be read or is no JSON.
 */
export async function readJson(path: string, option: string): Promise<unknown> {
  const refuse = (cause: unknown, expected: string) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new BitloomError(
      "bad-option",
      `Cannot read "${path}": expected ${expected}, got ${why}. Check the path.`,
      { option, got: path },
      { cause },
    );
  };
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw refuse(cause, "a readable file");
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refuse(cause, "JSON");
  }
}

/**
 * Reads a plan file.
 *
 * @throws bad-option - no readable plan; see `parsePlan`.
 */
export async function loadPlan(path: string): Promise<BitPlan> {
  return parsePlan(await readJson(path, "plan"));
}

/**
 * Writes a plan file, one line per layer.
 *
 * @throws output - see `WriteFileOptions`.
 */
export async function savePlan(
  plan: BitPlan,
  path: string,
  options: WriteFileOptions = {},
): Promise<void> {
  await writeText(path, serializePlan(plan), options);
}

/** sha256, hex, of a model's file and its external data, wherever they lie. */
export async function fingerprintModel(model: Model): Promise<string> {
  const hashes = await Promise.all(filesOf(model).map(hashFile));
  return fingerprint(hashes.sort());
}

/** sha256, hex, of a JSON-safe value in its own key order. */
export function fingerprint(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}
