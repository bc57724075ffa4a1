/**
 * Large arrays of a run (Hessians, codes): in memory up to a limit, in temporary files beyond it.
 * Invariant: what was put in comes out bit for bit.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/** @param limitBytes - of arrays in memory. */
export function createArrayStore(limitBytes: number): ArrayStore {
  let inMemory = 0;
  let files = 0;
  let folder: string | undefined;
  let last: { readonly path: string; readonly values: AnyArray } | undefined;
  return {
    put<A extends AnyArray>(values: A): StoredArray<A> {
      const { byteLength } = values;
      if (inMemory + byteLength <= limitBytes) {
        inMemory += byteLength;
        return {
          read: () => values,
          drop() {
            inMemory -= byteLength;
          },
        };
      }
      let path = tmpdir();
      try {
        folder ??= mkdtempSync(join(path, "bitloom-arrays-"));
        path = join(folder, `${files++}.bin`);
        writeFileSync(path, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      } catch (cause) {
        throw new BitloomError(
          "output",
          `Cannot keep statistics in "${path}": ${(cause as Error).message}. Free some disk space, or set TMPDIR to a larger disk.`,
          { path },
          { cause },
        );
      }
      const make = values.constructor as new (buffer: ArrayBuffer) => A;
      return {
        read() {
          if (last?.path !== path) {
            const { buffer, byteOffset, byteLength } = readFileSync(path);
            const bytes = buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
            last = { path, values: new make(bytes) };
          }
          return last.values as A;
        },
        drop: () => rmSync(path, { force: true }),
      };
    },
    close() {
      last = undefined;
      if (folder) rmSync(folder, { recursive: true, force: true });
    },
  };
}
