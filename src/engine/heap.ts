/**
 * Gives out ranges of the session's memory and takes them back; first fit over a list of free ranges, which the
 * session's few large blocks keep short.
 * Invariant: addresses are multiples of 64, a cache line.
 */
import { invariant } from "../core/errors.ts";

export const alignmentBytes = 64;

export const aligned = (bytes: number): number =>
  Math.ceil(bytes / alignmentBytes) * alignmentBytes;

interface Range {
  start: number;
  end: number;
}

export class Heap {
  /** Free ranges by address, never touching each other. */
  readonly #free: Range[] = [];
  readonly #sizes = new Map<number, number>();
  readonly #ensure: (bytes: number) => void;
  #end: number;

  /**
   * @param start - first address that may be given out.
   * @param ensure - makes the memory at least so many bytes large, or throws.
   */
  constructor(start: number, ensure: (bytes: number) => void) {
    this.#end = aligned(start);
    this.#ensure = ensure;
  }

  /** Address of `bytes` bytes, contents undefined. */
  take(bytes: number): number {
    const size = Math.max(aligned(bytes), alignmentBytes);
    const index = this.#free.findIndex(({ start, end }) => end - start >= size);
    if (index < 0) {
      // The last free range grows when it ends where the used part ends.
      const last = this.#free.at(-1);
      const start = last?.end === this.#end ? last.start : this.#end;
      this.#ensure(start + size);
      if (start !== this.#end) this.#free.pop();
      this.#end = start + size;
      this.#sizes.set(start, size);
      return start;
    }
    const range = this.#free[index];
    const { start } = range;
    range.start += size;
    if (range.start === range.end) this.#free.splice(index, 1);
    this.#sizes.set(start, size);
    return start;
  }

  give(address: number): void {
    const size = this.#sizes.get(address);
    invariant(size !== undefined, `address ${address} was not given out`);
    this.#sizes.delete(address);
    const index = this.#free.findIndex(({ start }) => start > address);
    const at = index < 0 ? this.#free.length : index;
    this.#free.splice(at, 0, { start: address, end: address + size });
    this.#join(at);
    if (at > 0) this.#join(at - 1);
  }

  /** Bytes in use. */
  get usedBytes(): number {
    return [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  #join(index: number): void {
    const range = this.#free[index];
    const next = this.#free[index + 1];
    if (!next || next.start !== range.end) return;
    range.end = next.end;
    this.#free.splice(index + 1, 1);
  }
}
