/**
 * A file of finished pieces of a long run, so that an interrupted run goes on where it ended. Invariant: a piece is
 * reused only under the fingerprint that it was made under.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
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
  const found = existsSync(path) ? readEntries(path) : [];
  const own = found.filter((entry) => entry.fingerprint === fingerprint);
  const dropped = own.length < found.length;
  if (dropped) rmSync(path);
  const pieces = new Map(own.map(({ key, value }) => [key, value]));
  const put = (key: string, value: unknown) => {
    const text = JSON.stringify({ fingerprint, key, value } satisfies Entry);
    appendFileSync(path, `${text}\n`);
    pieces.set(key, (JSON.parse(text) as Entry).value);
  };
  if (dropped) for (const { key, value } of own) put(key, value);
  const journal: Journal = {
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
  return journal;
}

/** The last line of a run that was killed may be cut off. */
function readEntries(path: string): Entry[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return line === "" ? [] : [JSON.parse(line) as Entry];
      } catch {
        return [];
      }
    });
}
