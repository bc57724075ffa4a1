/**
 * Large arrays of a run (Hessians, codes): in memory up to a limit, in temporary files beyond it.
 * Invariant: what was put in comes out bit for bit.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitloomError } from "../core/errors.ts";

/** What a store keeps. */
export type AnyArray = Float64Array | Float32Array | Uint8Array;

/** An array that may lie in a file. */
export interface StoredArray<A extends AnyArray = AnyArray> {
  /**
   * The array. Of those in files the one read last stays in memory, so that it comes as the same object while one layer
   * is at work. Synchronous: a read is short against the work it is for.
   */
  read(): A;
  /** It is not needed any more. */
  drop(): void;
}

/** Keeps arrays in memory up to a limit, the others in files. */
export interface ArrayStore {
  /**
   * Takes an array over.
   *
   * @throws output - no room for temporary files.
   */
  put<A extends AnyArray>(values: A): StoredArray<A>;
  /** Removes the files. */
  close(): void;
}

/** Files are read and written in pieces: one call takes less than 2 GiB, and a Hessian of 16384 columns has as much. */
const defaultPieceBytes = 2 ** 30;

/**
 * @param limitBytes - of arrays in memory.
 * @param pieceBytes - most bytes of one call of the file system.
 */
export function createArrayStore(
  limitBytes: number,
  pieceBytes: number = defaultPieceBytes,
): ArrayStore {
  let inMemory = 0;
  let files = 0;
  let folder: string | undefined;
  let last: { readonly path: string; readonly values: AnyArray } | undefined;
  const inFile = <A extends AnyArray>({
    path,
    byteLength,
    make,
  }: ArrayFile<A>): StoredArray<A> => ({
    read() {
      if (last?.path !== path) {
        last = { path, values: new make(readPieces(path, byteLength, pieceBytes)) };
      }
      return last.values as A;
    },
    drop: () => rmSync(path, { force: true }),
  });
  return {
    put<A extends AnyArray>(values: A): StoredArray<A> {
      const { byteLength } = values;
      if (inMemory + byteLength <= limitBytes) {
        inMemory += byteLength;
        return inMemoryArray(values, () => {
          inMemory -= byteLength;
        });
      }
      let path = tmpdir();
      try {
        folder ??= mkdtempSync(join(path, "bitloom-arrays-"));
        path = join(folder, `${files++}.bin`);
        writePieces(path, new Uint8Array(values.buffer, values.byteOffset, byteLength), pieceBytes);
      } catch (cause) {
        throw new BitloomError(
          "output",
          `Cannot keep statistics in "${path}": ${(cause as Error).message}. Free some disk space, or set TMPDIR to a larger disk.`,
          { path },
          { cause },
        );
      }
      return inFile({ path, byteLength, make: values.constructor as MakeArray<A> });
    },
    close() {
      last = undefined;
      if (folder) rmSync(folder, { recursive: true, force: true });
    },
  };
}

type MakeArray<A> = new (buffer: ArrayBuffer) => A;

interface ArrayFile<A> {
  readonly path: string;
  readonly byteLength: number;
  readonly make: MakeArray<A>;
}

/**
 * Functions of its own for what is in memory and what is not: all closures of one call keep alive what any of them
 * names, so an array in a file would stay in memory for the closure that another one would have had.
 */
const inMemoryArray = <A extends AnyArray>(values: A, drop: () => void): StoredArray<A> => ({
  read: () => values,
  drop,
});

function writePieces(path: string, bytes: Uint8Array, pieceBytes: number): void {
  const file = openSync(path, "w");
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(file, bytes, done, Math.min(pieceBytes, bytes.length - done));
    }
  } finally {
    closeSync(file);
  }
}

function readPieces(path: string, length: number, pieceBytes: number): ArrayBuffer {
  const bytes = new Uint8Array(length);
  const file = openSync(path, "r");
  try {
    for (let done = 0; done < length; ) {
      const count = readSync(file, bytes, done, Math.min(pieceBytes, length - done), done);
      if (count === 0) throw new Error(`"${path}" has lost its end`);
      done += count;
    }
  } finally {
    closeSync(file);
  }
  return bytes.buffer;
}
