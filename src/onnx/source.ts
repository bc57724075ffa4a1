/**
 * Random access to bytes, and an array in memory as such.
 * Not here: files (`file-source.ts`), what the bytes mean. Invariant: what `read` returns is never written to again, by
 * either side.
 */
import { bytesOf } from "../core/tensor.ts";

export interface ByteSource {
  /** For messages: the path of the file, or what its opener calls it. */
  readonly label: string;
  readonly size: number;
  /** Real path of the file behind it; undefined in memory. */
  readonly realPath: string | undefined;
  /** Exactly `length` bytes from `offset`; the caller must not modify them. */
  read(offset: number, length: number): Uint8Array;
  /** The same as a copy that is the caller's own. */
  copy(offset: number, length: number): Uint8Array;
}

/** Bytes that are already in memory, not copied; they must not change while a model uses them. */
export function memorySource(bytes: Uint8Array, label = "(in memory)"): ByteSource {
  // A plain view: the slice() of a Node Buffer would share memory instead of copying.
  const plain = bytesOf(bytes);
  return {
    label,
    size: plain.byteLength,
    realPath: undefined,
    read: (offset, length) => plain.subarray(offset, offset + length),
    copy: (offset, length) => plain.slice(offset, offset + length),
  };
}
