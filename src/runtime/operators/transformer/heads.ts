/**
 * How tensors of heads lie in memory, and the two copies that every attention makes: into a cache and out of it.
 */
import { contiguousStrides, type HeadStrides, headStrides } from "../../../../native/index.ts";
import type { Block, Machine, Place } from "./machine.ts";

/** Heads inside a block: sizes, and strides from `offset` on. */
export interface Heads {
  readonly block: Block;
  readonly offset: number;
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly size: number;
  readonly strides: HeadStrides;
}

/** [batch, rows, heads · size]. */
export function flatHeads(block: Block, heads: number): Heads {
  const [batch, rows, width] = block.shape;
  if (block.shape.length !== 3 || heads < 1 || width % heads) {
    throw new RangeError(`[${block.shape.join(", ")}] is no tensor of ${heads} heads`);
  }
  const size = width / heads;
  const strides = headStrides("BSNH", rows, heads, size);
  return { block, offset: 0, batch, rows, heads, size, strides };
}

/** [batch, heads, rows, size], in a cache with room for more rows. */
export function splitHeads(block: Block): Heads {
  const [batch, heads, rows, size] = block.shape;
  if (block.shape.length !== 4)
    throw new RangeError(`[${block.shape.join(", ")}] has no four axes`);
  const strides = headStrides("BNSH", block.room ?? rows, heads, size);
  return { block, offset: 0, batch, rows, heads, size, strides };
}

export const placeOf = ({ block, offset }: Heads): Place => ({ block, offset });

/** Copies all rows of `from` to `to` from row `at` on; batches `batch` alone if given. */
export function copyRows(machine: Machine, from: Heads, to: Heads, at = 0, batch?: number): void {
  const first = batch ?? 0;
  const shape = [batch === undefined ? from.batch : 1, from.heads, from.rows, from.size];
  const walk = ({ strides, offset }: Heads, row: number) => ({
    strides: [strides.batch, strides.head, strides.row, 1],
    offset: offset + first * strides.batch + row * strides.row,
  });
  machine.copy(shape, { block: from.block }, walk(from, 0), { block: to.block }, walk(to, at));
}

/** The strides of a mask that broadcasts to [batch, heads, rows, keys]; undefined when it repeats along the keys. */
export function maskStrides(shape: readonly number[], keys: number): HeadStrides | undefined {
  const padded = [1, 1, 1, 1, ...shape].slice(-4);
  if (shape.length > 4 || padded[3] !== keys) return undefined;
  const strides = contiguousStrides(padded);
  const stride = (axis: number) => (padded[axis] === 1 ? 0 : strides[axis]);
  return { batch: stride(0), head: stride(1), row: stride(2) };
}

/** True when a cache lies where it is to be continued. */
export const isInPlace = (past: Block, present: Block): boolean =>
  past.room !== undefined && past.pointer === present.pointer;

/** `present` = `past` and then `added`; without a past, just `added`. */
export function appendRows(
  machine: Machine,
  past: Block | undefined,
  added: Heads,
  present: Heads,
): void {
  if (past && !isInPlace(past, present.block)) copyRows(machine, splitHeads(past), present);
  copyRows(machine, added, present, past?.shape[2] ?? 0);
}
