/**
 * External data files of a model: from an untrusted `location` to bytes.
 * Invariant: no file outside the model's folder is ever opened, neither by "..", nor by an absolute path, nor by a link.
 */
import { realpathSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { type ByteSource, fileSource } from "./source.ts";
import { badModel } from "./wire.ts";

export interface ExternalFile {
  /** As written in the model: relative to its folder. */
  readonly location: string;
  readonly source: ByteSource;
}

/** The external data files that one model refers to, each opened once. */
export class ExternalFiles {
  readonly #modelPath: string | undefined;
  readonly #files = new Map<string, ByteSource>();

  constructor(modelPath: string | undefined) {
    this.#modelPath = modelPath;
  }

  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  /** Every file that was asked for so far. */
  list(): ExternalFile[] {
    return [...this.#files].map(([location, source]) => ({ location, source }));
  }

  /**
   * Opens the file at `location`, relative to the model's folder.
   *
   * @param tensor - name for messages.
   * @throws bad-model - model has no folder; location absolute, with "..", leading outside, or missing.
   */
  open(location: string, tensor: string): ByteSource {
    const known = this.#files.get(location);
    if (known) return known;
    const modelPath = this.#modelPath;
    const where = `tensor "${tensor}"`;
    if (modelPath === undefined) {
      const message = `The data of ${where} lies in the file "${location}", but the model was opened from bytes, without a folder. Open it by its path.`;
      throw badModel("(in memory)", message, where);
    }
    const refuse = (problem: string): never => {
      const message = `"${modelPath}" places the data of ${where} in "${location}": ${problem}. Keep external data in the model's folder, under a relative path.`;
      throw badModel(modelPath, message, where);
    };
    if (location === "") refuse("the location is empty");
    if (/^([/\\]|[a-zA-Z]:)/.test(location))
      refuse("expected a relative path, got an absolute one");
    if (location.split(/[/\\]/).includes("..")) refuse('the path leaves the folder with ".."');
    if (location.includes("\0")) refuse("the path holds a zero character");
    const folder = dirname(modelPath);
    const path = join(folder, location);
    let realPath: string;
    try {
      realPath = realpathSync(path);
    } catch {
      return refuse("there is no such file");
    }
    // Download caches link both the model and its data into one folder of blobs: that folder is the model's too.
    const folders = [realpathSync(folder), dirname(realpathSync(modelPath))];
    if (!folders.some((root) => realPath.startsWith(root.endsWith(sep) ? root : root + sep))) {
      refuse("a symbolic link leads outside the folder");
    }
    const source = fileSource(path);
    this.#files.set(location, source);
    return source;
  }
}
