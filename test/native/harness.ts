/**
 * Runs one kernel on arrays: copies them into a fresh memory with guard bytes around each, calls the kernel on ranges,
 * copies them back and checks the guards. Invariant: what the kernel was not given is untouched.
 */
import { expect } from "vitest";
import {
  assembleKernels,
  type Fields,
  type FieldValues,
  type Kernel,
  type KernelFunction,
  taskBytes,
  writeTask,
} from "../../native/kernel.ts";

type NumberArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

const guardBytes = 64;
const guard = 0xa5;
const pageBytes = 65536;

export interface KernelRun<F extends Fields> {
  readonly kernel: Kernel<F>;
  /** Fields that point at arrays; the arrays are changed in place by the run. */
  readonly arrays: Readonly<Partial<Record<keyof F & string, NumberArray>>>;
  /** The other fields. */
  readonly values: Readonly<Partial<Record<keyof F & string, number>>>;
  readonly items: number;
  /** Ranges to call it with, in order; default one call for all items. */
  readonly ranges?: readonly (readonly [number, number])[];
  /** Bytes added to each array's 16-aligned address (a multiple of its element size). */
  readonly misalign?: number;
  /** Bytes from the start of an array to where its field points. */
  readonly offsets?: Readonly<Partial<Record<keyof F & string, number>>>;
}

/** True when this engine can compile the kernel; relaxed SIMD is missing on Node 20. */
export function canCompile(kernel: Kernel): boolean {
  const bytes = assembleKernels([kernel], { shared: false, maximumPages: 1 });
  return WebAssembly.validate(bytes);
}

export function runKernel<F extends Fields>(run: KernelRun<F>): void {
  const { kernel, arrays, values, items, misalign = 0 } = run;
  const places: { readonly array: NumberArray; readonly address: number }[] = [];
  const fields: Record<string, number> = {};
  let next = guardBytes + 256;
  const task = next;
  next += taskBytes(kernel) + guardBytes;
  for (const [name, array] of Object.entries<NumberArray | undefined>(arrays)) {
    if (!array) continue;
    const known = places.find((place) => place.array === array);
    const address = known?.address ?? Math.ceil(next / 16) * 16 + misalign;
    fields[name] = address + (run.offsets?.[name] ?? 0);
    if (known) continue;
    places.push({ array, address });
    next = address + array.byteLength + guardBytes;
  }
  for (const [name, value] of Object.entries<number | undefined>(values)) {
    if (value !== undefined) fields[name] = value;
  }
  const all = fields as FieldValues<F>;
  const scratch = Math.ceil(next / 64) * 64;
  const scratchBytes = kernel.scratchBytes?.(all) ?? 0;
  next = scratch + scratchBytes + guardBytes;
  const pages = Math.ceil(next / pageBytes) + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const bytes = new Uint8Array(memory.buffer).fill(guard);
  for (const { array, address } of places) bytes.set(rawBytes(array), address);
  writeTask(new DataView(memory.buffer), task, kernel, all);
  const before = bytes.slice();
  const module = new WebAssembly.Module(
    assembleKernels([kernel], { shared: false, maximumPages: pages }),
  );
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const call = instance.exports[kernel.name] as KernelFunction;
  for (const [begin, end] of run.ranges ?? [[0, items]]) call(task, begin, end, scratch);
  for (const { array, address } of places) {
    rawBytes(array).set(bytes.subarray(address, address + array.byteLength));
    before.set(bytes.subarray(address, address + array.byteLength), address);
  }
  before.set(bytes.subarray(scratch, scratch + scratchBytes), scratch);
  const touched = bytes.findIndex((byte, index) => byte !== before[index]);
  expect(touched, `${kernel.name} wrote outside its arrays, at byte ${touched}`).toBe(-1);
}

function rawBytes(array: NumberArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
