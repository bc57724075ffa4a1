/**
 * Kernel names by the grammar of `native/README.md`.
 */
import { arithmetics } from "./arithmetic.ts";
import type { KernelFormat } from "./layout.ts";

/** `qb4w` is 4 bits in blocks with the zero point 8, `qz4w` with zero points of its own. */
export function kernelName(
  { bits, symmetric, activation }: KernelFormat,
  operation: "gemv" | "gemm",
  tile: string,
): string {
  const { letters, isa } = arithmetics[activation];
  return `${letters}-f32-${symmetric ? "qb" : "qz"}${bits}w-${operation}-${tile}-${isa}`;
}
