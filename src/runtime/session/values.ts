/**
 * What the session knows of each value of the graph: its type, its numbers if they are known before the run, and the
 * memory it lies in.
 */
import { invariant } from "../../core/errors.ts";
import { elementCount } from "../../core/tensor.ts";
import type { InferInput, Operand, TensorType } from "./operator.ts";
import { arrayOf, elementBytes, type HostTensor } from "./storage.ts";

/** A range of the session's memory; aliases (Reshape, Squeeze …) share one. */
export interface Storage {
  /** Address; an offset into the arena while `isPlanned`. */
  offset: number;
  bytes: number;
  /** "arena": given out anew by each plan. "own": the value's own block, as long as the session. */
  readonly kind: "arena" | "own";
  /** The last step that reads it. */
  lastUse: number;
}

export class Value {
  readonly name: string;
  /** Undefined until the shapes of this run are worked out. */
  type: TensorType | undefined;
  known: HostTensor | undefined;
  /** The run in which type or known numbers last changed. */
  changed = 0;
  storage: Storage | undefined;
  /** The block that its known numbers were uploaded to. */
  uploaded: Storage | undefined;
  /** See `Operand.room`. */
  room: number | undefined;
  readonly isConstant: boolean;
  #operand: Operand | undefined;

  constructor(name: string, isConstant: boolean) {
    this.name = name;
    this.isConstant = isConstant;
  }

  inferInput(): InferInput | undefined {
    const { type, known } = this;
    return type && { dtype: type.dtype, shape: type.shape, known };
  }

  /** Takes on a type; true when it is another one than before. */
  assign(type: TensorType, known: HostTensor | undefined, run: number): void {
    const same = this.type !== undefined && sameType(this.type, type);
    if (!same || !sameNumbers(this.known, known)) this.changed = run;
    if (!same) this.type = { dtype: type.dtype, shape: [...type.shape] };
    this.known = known;
  }

  get bytes(): number {
    return this.type ? elementCount(this.type.shape) * elementBytes(this.type.dtype) : 0;
  }

  /** Where it lies; the same object as long as that does not change. */
  operand(arena: number): Operand | undefined {
    const { type, storage, room } = this;
    if (!type || !storage) return undefined;
    const pointer = addressOf(storage, arena);
    const last = this.#operand;
    if (last?.shape === type.shape && last.pointer === pointer && last.room === room) return last;
    const { dtype, shape } = type;
    this.#operand = { dtype, shape, elements: elementCount(shape), pointer, room };
    return this.#operand;
  }

  /** A view of its numbers, valid until the memory grows. */
  view(buffer: ArrayBuffer, arena: number): HostTensor | undefined {
    if (this.known) return this.known;
    const operand = this.operand(arena);
    if (!operand) return undefined;
    invariant(operand.room === undefined, `${this.name} is read as if it lay in one piece`);
    const { dtype, shape, pointer, elements } = operand;
    return { dtype, shape, data: new (arrayOf(dtype))(buffer, pointer, elements) };
  }
}

export const addressOf = ({ kind, offset }: Storage, arena: number): number =>
  kind === "arena" ? arena + offset : offset;

/** Larger known tensors count as changed: comparing them costs as much as using them. */
const comparedElements = 4096;

function sameNumbers(a: HostTensor | undefined, b: HostTensor | undefined): boolean {
  if (a === b) return true;
  if (!a || !b || a.data.length !== b.data.length || a.data.length > comparedElements) return false;
  for (let i = 0; i < a.data.length; i++) if (!Object.is(a.data[i], b.data[i])) return false;
  return true;
}

export function sameType(a: TensorType, b: TensorType): boolean {
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false;
  for (let i = 0; i < a.shape.length; i++) if (a.shape[i] !== b.shape[i]) return false;
  return true;
}
