/**
 * Plans which values share memory: offsets are given out in the order of the steps and taken back after the last use.
 * Invariant: two values that live at the same time never overlap.
 */
import { Heap } from "../../engine/heap.ts";
import type { Storage } from "./values.ts";

/**
 * Sizes are rounded up to a step of an eighth of their power of two, so that a cache that grows by one token per run
 * moves nothing most of the time.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= 1024) return 1024;
  const step = 2 ** Math.max(0, Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

export class Arena {
  readonly #heap: Heap;
  /** Bytes that the plan needs. */
  bytes = 0;
  readonly #ending = new Map<number, Storage[]>();

  constructor() {
    this.#heap = new Heap(0, (end) => {
      this.bytes = Math.max(this.bytes, end);
    });
  }

  /** Memory for a value that is written at the present step and read last at `lastUse`. */
  take(bytes: number, lastUse: number): Storage {
    const size = sizeClass(bytes);
    const storage: Storage = { offset: this.#heap.take(size), bytes: size, kind: "arena", lastUse };
    this.#endsAt(storage);
    return storage;
  }

  /** The value lives longer: an alias of it is read later. */
  extend(storage: Storage, lastUse: number): void {
    if (lastUse <= storage.lastUse) return;
    const list = this.#ending.get(storage.lastUse);
    list?.splice(list.indexOf(storage), 1);
    storage.lastUse = lastUse;
    this.#endsAt(storage);
  }

  /** Takes back what was read last at this step. */
  finish(step: number): void {
    for (const { offset } of this.#ending.get(step) ?? []) this.#heap.give(offset);
    this.#ending.delete(step);
  }

  #endsAt(storage: Storage): void {
    const list = this.#ending.get(storage.lastUse);
    if (list) list.push(storage);
    else this.#ending.set(storage.lastUse, [storage]);
  }
}
