/**
 * One call of a kernel as its owner sees it.
 */
import type { Fields, FieldValues } from "../../native/index.ts";

/** A kernel with its fields, ready to be run. */
export interface Task<F extends Fields = Fields> {
  /**
   * @param items - of the kernel's range, 0 … items − 1; 0 does nothing.
   * @param work - rough count of operations in all, by which the engine decides whether threads pay.
   */
  set(values: FieldValues<F>, items: number, work: number): void;
  /** As `set`; fields left out stay as they are. */
  change(values: Partial<FieldValues<F>>, items: number, work: number): void;
  run(): void;
}
