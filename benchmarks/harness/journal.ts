/**
 * A file of finished pieces of a long run, so that an interrupted run goes on where it ended. Invariant: a piece is
 * reused only under the fingerprint that it was made under.
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

export interface Journal {
  /** Pieces that were there when it was opened. */
  readonly resumed: number;
  /** True when pieces of another fingerprint were dropped. */
  readonly dropped: boolean;
  has(key: string): boolean;
  get<T>(key: string): T | undefined;
  put(key: string, value: unknown): void;
  /** The piece of that name; made, and written down, where it is not there. */
  remember<T>(key: string, make: () => Promise<T> | T): Promise<T>;
  /** Deletes the file: the run is over. */
  remove(): void;
}

interface Entry {
  readonly fingerprint: string;
  readonly key: string;
  readonly value: unknown;
}

/** Values go through JSON, so that a resumed run sees what the first one saw. */
export function openJournal(path: string, fingerprint: string): Journal {
  mkdirSync(dirname(path), { recursive: true });
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const found = readEntries(text);
  const own = found.filter((entry) => entry.fingerprint === fingerprint);
  const dropped = own.length < found.length;
  // What was dropped or cut off would spoil what follows.
  writeFileSync(path, own.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  const pieces = new Map(own.map(({ key, value }) => [key, value]));
  const put = (key: string, value: unknown) => {
    const line = JSON.stringify({ fingerprint, key, value } satisfies Entry);
    appendFileSync(path, `${line}\n`);
    pieces.set(key, (JSON.parse(line) as Entry).value);
  };
  return {
    resumed: own.length,
    dropped,
    has: (key) => pieces.has(key),
    get: <T>(key: string) => pieces.get(key) as T | undefined,
    put,
    async remember<T>(key: string, make: () => Promise<T> | T): Promise<T> {
      if (!pieces.has(key)) put(key, await make());
      return pieces.get(key) as T;
    },
    remove: () => rmSync(path, { force: true }),
  };
}

/** The last line of a run that was killed may be cut off. */
function readEntries(text: string): Entry[] {
  return text.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [JSON.parse(line) as Entry];
    } catch {
      return [];
    }
  });
}
