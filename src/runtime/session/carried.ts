/**
 * Values that stay in the session from run to run: key/value caches. What an output held in one run, an input reads in
 * the next, from the same memory. Where the operators can append in place, both are one block with room for more rows;
 * elsewhere two blocks per cache change places.
 */
import { invariant } from "../../core/errors.ts";
import type { Engine } from "../../engine/engine.ts";
import { sizeClass } from "./arena.ts";
import type { TensorType } from "./operator.ts";
import type { Step } from "./step.ts";
import { elementBytes, isFloat } from "./storage.ts";
import type { Storage, Value } from "./values.ts";

export interface Carried {
  readonly past: Value;
  readonly present: Value;
  /** Type of the past before the first run. */
  readonly start: TensorType;
}

interface State extends Carried {
  type: TensorType;
  /** The block that holds the past, and the one that the present is written to; in place, only the first. */
  blocks: [Storage | undefined, Storage | undefined];
  /** Past and present lie in one block. */
  readonly isInPlace: boolean;
}

/** Rows of a cache come in multiples of this. */
const roomStep = 64;

export class CarriedValues {
  readonly #engine: Engine;
  readonly #states: readonly State[];
  readonly #pasts: ReadonlyMap<Value, State>;
  readonly #presents: ReadonlyMap<Value, State>;

  constructor(engine: Engine, carried: readonly Carried[], steps: readonly Step[]) {
    this.#engine = engine;
    const readers = readersOf(steps);
    this.#states = carried.map((pair) => ({
      ...pair,
      type: pair.start,
      blocks: [undefined, undefined],
      isInPlace: growsInPlace(pair, readers),
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

  /** True for values that lie somewhere else in every run, or do so in this one. */
  isMoved(value: Value, run: number): boolean {
    const state = this.#pasts.get(value) ?? this.#presents.get(value);
    return state !== undefined && (!state.isInPlace || value.changed === run);
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
  place(run: number): void {
    for (const state of this.#states) {
      const { past, present, blocks } = state;
      if (!state.isInPlace) {
        blocks[0] = this.#block(blocks[0], past.bytes);
        past.storage = blocks[0];
      }
      if (present.type) this.placePresent(present, run);
    }
  }

  placePresent(present: Value, run: number): void {
    const state = this.#presents.get(present);
    invariant(state, `${present.name} is not carried over`);
    if (state.isInPlace) {
      this.#makeRoom(state, run);
      return;
    }
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
      if (!state.isInPlace && present.storage === blocks[1]) state.blocks = [blocks[1], blocks[0]];
    }
  }

  /** One block for past and present, with rows enough; what the past holds moves along. */
  #makeRoom({ past, present, type, blocks }: State, run: number): void {
    invariant(present.type, `${present.name} has no type`);
    const { dtype, shape } = present.type;
    const [batch, heads, rows, size] = shape;
    const rowBytes = size * elementBytes(dtype);
    const old = blocks[0];
    const oldRoom = present.room ?? 0;
    let room = oldRoom;
    if (rows > oldRoom) {
      // Half as much again keeps the copies of a whole sequence linear.
      const wanted = oldRoom === 0 ? rows : Math.max(rows, 1.5 * oldRoom);
      room = Math.max(1, Math.ceil(wanted / roomStep)) * roomStep;
    }
    const bytes = batch * heads * room * rowBytes;
    if (!old || room !== oldRoom || bytes > old.bytes) {
      const size = sizeClass(bytes);
      const block: Storage = {
        offset: this.#engine.take(size),
        bytes: size,
        kind: "own",
        lastUse: 0,
      };
      if (old) {
        const pastRows = type.shape[2];
        if (pastRows > 0) {
          const memory = this.#engine.bytes();
          for (let head = 0; head < batch * heads; head++) {
            const from = old.offset + head * oldRoom * rowBytes;
            memory.copyWithin(
              block.offset + head * room * rowBytes,
              from,
              from + pastRows * rowBytes,
            );
          }
        }
        this.#engine.give(old.offset);
      }
      blocks[0] = block;
      for (const value of [past, present]) {
        value.room = room;
        value.changed = run;
      }
    }
    past.storage = blocks[0];
    present.storage = blocks[0];
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

/** The steps that read the numbers of each value, with the position of the input. */
function readersOf(steps: readonly Step[]): ReadonlyMap<Value, { step: Step; input: number }[]> {
  const readers = new Map<Value, { step: Step; input: number }[]>();
  for (const step of steps) {
    if (step.kind === "node" && step.operator.readsTypesOnly) continue;
    for (const [input, value] of step.inputs.entries()) {
      if (!value) continue;
      const list = readers.get(value);
      if (list) list.push({ step, input });
      else readers.set(value, [{ step, input }]);
    }
  }
  return readers;
}

/** True when one operator appends to the past, and whoever else reads the result can do so where it lies. */
function growsInPlace(
  { past, present, start }: Carried,
  readers: ReadonlyMap<Value, readonly { step: Step; input: number }[]>,
): boolean {
  if (start.shape.length !== 4 || !isFloat(start.dtype)) return false;
  const [reader, ...others] = readers.get(past) ?? [];
  if (others.length > 0 || reader?.step.kind !== "node" || !reader.step.compiled) return false;
  const { step, input } = reader;
  const appends = step.operator.appends?.(step.node) ?? [];
  const output = appends.find((append) => append.input === input)?.output;
  if (output === undefined || step.outputs[output] !== present) return false;
  return (readers.get(present) ?? []).every(
    ({ step, input }) =>
      step.kind === "node" && step.compiled && step.operator.readsRoom?.includes(input),
  );
}
