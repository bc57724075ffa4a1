/**
 * Values that stay in the session from run to run: key/value caches. What an output held in one run, an input reads in
 * the next, from the same memory; two blocks per cache change places.
 */
import { invariant } from "../../core/errors.ts";
import type { Engine } from "../../engine/engine.ts";
import { sizeClass } from "./arena.ts";
import type { TensorType } from "./operator.ts";
import type { Storage, Value } from "./values.ts";

export interface Carried {
  readonly past: Value;
  readonly present: Value;
  /** Type of the past before the first run. */
  readonly start: TensorType;
}

interface State extends Carried {
  type: TensorType;
  /** The block that holds the past, and the one that the present is written to. */
  blocks: [Storage | undefined, Storage | undefined];
}

export class CarriedValues {
  readonly #engine: Engine;
  readonly #states: readonly State[];
  readonly #pasts: ReadonlyMap<Value, State>;
  readonly #presents: ReadonlyMap<Value, State>;

  constructor(engine: Engine, carried: readonly Carried[]) {
    this.#engine = engine;
    this.#states = carried.map((pair) => ({
      ...pair,
      type: pair.start,
      blocks: [undefined, undefined],
    }));
    this.#pasts = new Map(this.#states.map((state) => [state.past, state]));
    this.#presents = new Map(this.#states.map((state) => [state.present, state]));
  }

  get isEmpty(): boolean {
    return this.#states.length === 0;
  }

  get presents(): readonly Value[] {
    return this.#states.map(({ present }) => present);
  }

  isPast(value: Value): boolean {
    return this.#pasts.has(value);
  }

  isPresent(value: Value): boolean {
    return this.#presents.has(value);
  }

  /** The type that a past has now. */
  pastType(value: Value): TensorType | undefined {
    return this.#pasts.get(value)?.type;
  }

  /** The next run starts anew. */
  reset(): void {
    for (const state of this.#states) state.type = state.start;
  }

  /** Gives every past its full block, and every present whose type is known one with room. */
  place(): void {
    for (const state of this.#states) {
      const { past, present, blocks } = state;
      blocks[0] = this.#block(blocks[0], past.bytes);
      past.storage = blocks[0];
      if (present.type) this.placePresent(present);
    }
  }

  placePresent(present: Value): void {
    const state = this.#presents.get(present);
    invariant(state, `${present.name} is not carried over`);
    state.blocks[1] = this.#block(state.blocks[1], present.bytes);
    present.storage = state.blocks[1];
  }

  /** The present of this run is the past of the next. */
  carryOver(): void {
    for (const state of this.#states) {
      const { present, blocks } = state;
      invariant(present.type, `${present.name} was not computed`);
      state.type = present.type;
      // An alias of the past lies in the past's own block.
      if (present.storage === blocks[1]) state.blocks = [blocks[1], blocks[0]];
    }
  }

  /** A block at least as large as the value is now. */
  #block(old: Storage | undefined, bytes: number): Storage {
    if (old && old.bytes >= bytes) return old;
    if (old) this.#engine.give(old.offset);
    // Caches grow by a token at a time; half as much again keeps the copies of a whole sequence linear.
    const size = sizeClass(old ? Math.max(bytes, old.bytes * 1.5) : bytes);
    return { offset: this.#engine.take(size), bytes: size, kind: "own", lastUse: 0 };
  }
}
