/**
 * A word-level tokenizer.json for tests: words split at spaces, ids in the order given.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export const words = ["<s>", "</s>", "a", "b", "c", "d"];

/** Tokenizer files as a plain object; `template` prepends <s>. */
export function wordTokenizer(template: boolean): Record<string, unknown> {
  return {
    version: "1.0",
    added_tokens: ["<s>", "</s>"].map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: template
      ? {
          type: "TemplateProcessing",
          single: [
            { SpecialToken: { id: "<s>", type_id: 0 } },
            { Sequence: { id: "A", type_id: 0 } },
          ],
          pair: [],
          special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
        }
      : null,
    decoder: null,
    model: {
      type: "BPE",
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges: [],
    },
  };
}

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A folder that goes when the tests of the file are over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-data-"));
  folders.push(folder);
  return folder;
}

/** Writes tokenizer.json, and tokenizer_config.json when a config is given; returns the folder. */
export async function writeTokenizer(
  description: Record<string, unknown>,
  config?: Record<string, unknown>,
): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(description));
  if (config) await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  return folder;
}
