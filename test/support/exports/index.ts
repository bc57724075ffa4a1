/**
 * Folders as `optimum-cli export onnx` leaves them: model.onnx, its weights in model.onnx_data, tokenizer files,
 * config.json; and a text. Weights are random; the graphs are those of `transformers/`.
 */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRandom } from "../../../src/core/random.ts";
import { type Model, saveModel } from "../../../src/onnx/index.ts";
import { type TokenizerKind, tokenizerFiles } from "./tokenizer-files.ts";

export interface ExportOptions {
  readonly model: Model;
  /** Left out: the folder has no tokenizer. */
  readonly tokenizer?: TokenizerKind;
  /** Weights in model.onnx_data; default true. */
  readonly external?: boolean;
  /** Contents of config.json. */
  readonly config?: object;
}

export interface ExportFolder {
  readonly model: string;
  /** About 6,000 characters. */
  readonly text: string;
  at(name: string): string;
}

/** Writes an export into a folder, which is made. */
export async function writeExport(folder: string, options: ExportOptions): Promise<ExportFolder> {
  const { model, tokenizer, external = true, config = {} } = options;
  const at = (name: string) => join(folder, name);
  await mkdir(folder, { recursive: true });
  const path = at("model.onnx");
  await saveModel(model, path, { externalData: external ? "always" : "never" });
  if (external) await useOptimumName(path);
  const put = (name: string, value: object) => writeFile(at(name), JSON.stringify(value));
  await put("config.json", config);
  const files: Readonly<Record<string, object>> = tokenizer
    ? { ...tokenizerFiles[tokenizer]() }
    : {};
  for (const [name, value] of Object.entries(files)) await put(name, value);
  const text = at("text.txt");
  await writeFile(text, sampleText(1000));
  return { model: path, text, at };
}

/** optimum calls it model.onnx_data, torch model.onnx.data: names of one length, so the references are replaced in place. */
async function useOptimumName(path: string): Promise<void> {
  await rename(`${path}.data`, `${path}_data`);
  const bytes = await readFile(path);
  const [from, to] = ["model.onnx.data", "model.onnx_data"].map((name) => Buffer.from(name));
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at)) bytes.set(to, at);
  await writeFile(path, bytes);
}

const words =
  "the of and a to in is it you that he was for on are with as his they be at one have this from".split(
    " ",
  );

/** Common words in sentences. */
export function sampleText(count: number, seed = 1): string {
  const random = createRandom(seed);
  const sentences = Array.from({ length: Math.ceil(count / 8) }, () =>
    Array.from({ length: 8 }, () => words[random.integer(words.length)]).join(" "),
  );
  return `${sentences.join(". ")}.`;
}
