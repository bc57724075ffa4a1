/** Tiny kernels, a memory and pools for the tests of threads. */

import { memory as bulk, f32, i32 } from "../../native/assembler/index.ts";
import {
  assembleKernels,
  type Kernel,
  type KernelFunction,
  taskBytes,
  writeTask,
} from "../../native/index.ts";
import { defineKernel } from "../../native/kernel.ts";
import { controlBytes, type StartThreads, type ThreadPool } from "../../src/engine/threads.ts";

/** numbers[item] += 1: an item done twice, or not at all, shows. */
export const addOne = defineKernel({
  name: "add-one",
  isa: "simd128",
  fields: { numbers: "i32" },
  item: "element",
  build(code) {
    const pointer = code.local("i32");
    code.for(code.begin, code.end, 1, (item) => {
      pointer.set(i32.add(code.fields.numbers, i32.shl(item, i32.const(2))));
      code.do(i32.store(pointer, i32.add(i32.load(pointer), i32.const(1))));
    });
  },
});

/** numbers[item] *= factor, `turns` times: as slow as wanted, in place. */
export const multiply = defineKernel({
  name: "multiply",
  isa: "simd128",
  fields: { numbers: "i32", factor: "f32", turns: "i32" },
  item: "element",
  build(code) {
    const { numbers, factor, turns } = code.fields;
    const pointer = code.local("i32");
    const value = code.local("f32");
    code.for(code.begin, code.end, 1, (item) => {
      pointer.set(i32.add(numbers, i32.shl(item, i32.const(2))));
      value.set(f32.load(pointer));
      code.repeat(turns, () => value.set(f32.mul(value, factor)));
      code.do(f32.store(pointer, value));
    });
  },
});

/** As `addOne`, but traps at one item. */
export const trapAt = defineKernel({
  name: "trap-at",
  isa: "simd128",
  fields: { numbers: "i32", trap: "i32" },
  item: "element",
  build(code) {
    const { numbers, trap } = code.fields;
    const pointer = code.local("i32");
    code.for(code.begin, code.end, 1, (item) => {
      pointer.set(i32.add(numbers, i32.shl(item, i32.const(2))));
      code.if(i32.eq(item, trap), () => pointer.set(i32.const(-4)));
      code.do(i32.store(pointer, i32.add(i32.load(pointer), i32.const(1))));
    });
  },
});

/** Writes the item's number over its `bytes` bytes, and its thread's scratch address into the scratch memory. */
export const fill = defineKernel({
  name: "fill",
  isa: "simd128",
  fields: { target: "i32", bytes: "i32" },
  item: "range of bytes",
  build(code) {
    const { target, bytes } = code.fields;
    code.do(i32.store(code.scratch, code.scratch));
    code.for(code.begin, code.end, 1, (item) => {
      code.do(bulk.fill(i32.add(target, i32.mul(item, bytes)), item, bytes));
    });
  },
});

export const kernels: readonly Kernel[] = [addOne, multiply, trapAt, fill];

export const pageBytes = 65536;
const control = 1024;
const scratch = control + controlBytes;
const scratchBytes = 64;
const tasks = 16384;
/** Where the numbers of the tests start. */
export const numbers = pageBytes;
const pages = 17;

export interface Bench {
  readonly pool: ThreadPool;
  readonly memory: WebAssembly.Memory;
  /** Why threads were lost, in order. */
  readonly lost: string[];
  /** Scratch address of a thread. */
  scratchOf(thread: number): number;
  /** Sets the task of a kernel and runs it on the pool. */
  run<K extends Kernel>(
    kernel: K,
    values: Readonly<Record<keyof K["fields"], number>>,
    items: number,
    chunk: number,
  ): void;
  /** The control block. */
  words(): Int32Array;
  /** Views of the numbers. */
  int32(length: number): Int32Array;
  float32(length: number): Float32Array;
}

/** A memory of its own with a pool on it, all kernels loaded. */
export async function openBench(startThreads: StartThreads, workers: number): Promise<Bench> {
  const maximum = 64;
  const memory = new WebAssembly.Memory({ initial: pages, maximum, shared: true });
  const bytes = assembleKernels(kernels, { shared: true, maximumPages: maximum });
  const module = await WebAssembly.compile(bytes);
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const names = kernels.map(({ name }) => name);
  const lost: string[] = [];
  const pool = await startThreads({
    memory,
    workers,
    control,
    scratch,
    scratchBytes,
    onLost: (reason) => void lost.push(reason),
  });
  await pool.load(
    module,
    names,
    names.map((name) => exports[name] as KernelFunction),
  );
  return {
    pool,
    memory,
    lost,
    scratchOf: (thread) => scratch + thread * scratchBytes,
    run(kernel, values, items, chunk) {
      const index = kernels.indexOf(kernel);
      const task = tasks + 64 * index;
      if (taskBytes(kernel) > 64) throw new RangeError("tasks overlap");
      writeTask(new DataView(memory.buffer), task, kernel, values);
      pool.run(index, task, items, chunk);
    },
    words: () => new Int32Array(memory.buffer, control, controlBytes / 4),
    int32: (length) => new Int32Array(memory.buffer, numbers, length),
    float32: (length) => new Float32Array(memory.buffer, numbers, length),
  };
}
