/**
 * Typed expressions: WebAssembly instructions as functions from operands to results. An operand of the wrong value
 * type is a compile error of TypeScript, so a kernel that type-checks assembles to a module that validates.
 * Invariant: an expression is the immutable code that leaves exactly one value of its type ("void": none) on the stack.
 */
import type { FunctionBuilder } from "./function.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** A byte, or a call whose function index is known only when the module is put together. */
export type Code = number | { readonly call: FunctionBuilder };

export interface Expression<T extends ValueType | "void"> {
  readonly type: T;
  readonly code: readonly Code[];
}

export type I32 = Expression<"i32">;
export type I64 = Expression<"i64">;
export type F32 = Expression<"f32">;
export type F64 = Expression<"f64">;
export type V128 = Expression<"v128">;
export type Statement = Expression<"void">;

export function expression<T extends ValueType | "void">(
  type: T,
  ...code: readonly (Code | readonly Code[])[]
): Expression<T> {
  return { type, code: code.flat() };
}

/** Unsigned LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 128 : low);
  } while (rest > 0);
  return bytes;
}

/** Signed LEB128 of an integer of at most 64 bits. */
export function signed(value: number | bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (;;) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    const isDone = (rest === 0n && (low & 64) === 0) || (rest === -1n && (low & 64) !== 0);
    bytes.push(isDone ? low : low | 128);
    if (isDone) return bytes;
  }
}
