/**
 * Code that the kernels over row tiles share: where a tile starts and how tall it is.
 */
import { type I32, i32, type Local, select } from "../assembler/index.ts";
import type { KernelCode } from "../kernel.ts";

/** K elements per turn of the loops over activations. */
export const stepSize = 32;

export interface Tile {
  readonly row: Local<"i32">;
  readonly height: Local<"i32">;
}

/** Sets the first row and the height of tile number `index`; see `rowTiles`. */
export function tileOf(
  code: KernelCode<{ readonly rows: "i32"; readonly tallTiles: "i32" }>,
  index: Local<"i32">,
): Tile {
  const { rows, tallTiles } = code.fields;
  const isTall = i32.lt_s(index, tallTiles);
  return {
    row: code.local("i32", firstRow(code, index)),
    height: code.local("i32", i32.add(rows, isTall)),
  };
}

/** The first row of tile number `index`. */
export function firstRow(
  code: KernelCode<{ readonly rows: "i32"; readonly tallTiles: "i32" }>,
  index: Local<"i32">,
) {
  const { rows, tallTiles } = code.fields;
  const before = select(index, tallTiles, i32.lt_s(index, tallTiles));
  return i32.add(i32.mul(index, rows), before);
}

/** The smaller of two signed integers. */
export const minimum = (a: I32, b: I32): I32 => select(a, b, i32.lt_s(a, b));
