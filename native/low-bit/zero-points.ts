/**
 * Reads the zero points of a block: a byte per column of the panel.
 */
import { type FunctionBuilder, type I32, i32x4, type V128, v128 } from "../assembler/index.ts";

/** One vector of four int32 zero points per quad of columns; `quads` is even. */
export function zeroPointVectors(code: FunctionBuilder, from: I32, quads: number): V128[] {
  return Array.from({ length: quads / 2 }, (_, pair) => {
    const eight = code.local("v128", v128.load8x8_u(from, 8 * pair));
    return [i32x4.extend_low_i16x8_u(eight), i32x4.extend_high_i16x8_u(eight)];
  }).flat();
}
