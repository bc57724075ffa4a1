/**
 * External data of a model: from an untrusted `location` to bytes. Not here: files (`model-folder.ts`).
 * Invariant: a location that could lead out of the model's folder opens nothing, wherever the bytes come from; saving
 * writes copies under these locations.
 */
import { type ByteSource, memorySource } from "./source.ts";
import { badModel } from "./wire.ts";

export interface ExternalFile {
  /** As written in the model: relative to its folder. */
  readonly location: string;
  readonly source: ByteSource;
}

/**
 * Opens the data that lies at `location`, relative to the model.
 *
 * @param where - whose data it is, for messages: `tensor "w"`.
 * @throws bad-model - the location is refused or there is nothing.
 */
export type OpenExternal = (location: string, where: string) => ByteSource;

/** The external data files that one model refers to, each opened once. */
export class ExternalFiles {
  readonly #open: OpenExternal;
  readonly #files = new Map<string, ByteSource>();

  constructor(open: OpenExternal) {
    this.#open = open;
  }

  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  /** Every file that was asked for so far. */
  list(): ExternalFile[] {
    return [...this.#files].map(([location, source]) => ({ location, source }));
  }

  /**
   * Opens the file at `location`.
   *
   * @param tensor - name for messages.
   * @throws bad-model - as the opener throws.
   */
  open(location: string, tensor: string): ByteSource {
    const known = this.#files.get(location);
    if (known) return known;
    const source = this.#open(location, `tensor "${tensor}"`);
    this.#files.set(location, source);
    return source;
  }
}

/** For models without a folder: refuses every location. */
export const noFolder: OpenExternal = (location, where) => {
  const message = `The data of ${where} lies in the file "${location}", but the model was opened from bytes, without a folder. Open it by its path.`;
  throw badModel("(in memory)", message, where);
};

/**
 * Looks external data up by location.
 *
 * @param label - of the model, for messages.
 * @param data - bytes of each file, which must not change afterwards.
 */
export function filesInMemory(
  label: string,
  data: Readonly<Record<string, Uint8Array>>,
): OpenExternal {
  return (location, where) => {
    const refuse = refusal(label, location, where);
    checkLocation(location, refuse);
    if (Object.hasOwn(data, location)) return memorySource(data[location], location);
    const given = Object.keys(data).map((name) => `"${name}"`);
    const got = given.length === 0 ? "no such option" : given.join(", ");
    const message = `The data of ${where} lies in the file "${location}", but "${label}" was opened from bytes without it: expected externalData to hold "${location}", got ${got}. Pass the bytes of that file as externalData["${location}"].`;
    throw badModel(label, message, where);
  };
}

/** A function that throws bad-model for this location with a problem: a phrase, like "there is no such file". */
export function refusal(
  label: string,
  location: string,
  where: string,
): (problem: string) => never {
  return (problem) => {
    const message = `"${label}" places the data of ${where} in "${location}": ${problem}. Keep external data in the model's folder, under a relative path.`;
    throw badModel(label, message, where);
  };
}

/** Refuses what is no relative path inside the folder. */
export function checkLocation(location: string, refuse: (problem: string) => never): void {
  if (location === "") refuse("the location is empty");
  if (/^([/\\]|[a-zA-Z]:)/.test(location)) refuse("expected a relative path, got an absolute one");
  if (location.split(/[/\\]/).includes("..")) refuse('the path leaves the folder with ".."');
  if (location.includes("\0")) refuse("the path holds a zero character");
}
