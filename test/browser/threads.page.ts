/** Runs in a page: threads over Workers, from the page's main thread. */

import { f32, i32 } from "../../native/assembler/index.ts";
import { assembleKernels, type KernelFunction, writeTask } from "../../native/index.ts";
import { defineKernel } from "../../native/kernel.ts";
import { browserPlatform } from "../../src/engine/platform/browser.ts";
import { controlBytes } from "../../src/engine/threads.ts";

export interface Threads {
  readonly hasThreads: boolean;
  readonly reason: string | undefined;
  readonly defaultThreads: number;
  /** Of the pool, caller included; 0 without one. */
  readonly count: number;
  readonly lost: readonly string[];
  /** Jobs in which an item was not done exactly once. */
  readonly wrongJobs: number;
  /** Which workers wrote into their scratch memory. */
  readonly tookPart: readonly boolean[];
  /** Message of the run whose kernel trapped. */
  readonly trap: string;
}

/** numbers[item] += 1, after some work; traps at one item; notes its thread in the scratch memory. */
const kernel = defineKernel({
  name: "count",
  isa: "simd128",
  fields: { numbers: "i32", trap: "i32", turns: "i32" },
  item: "element",
  build(code) {
    const { numbers, trap, turns } = code.fields;
    const pointer = code.local("i32");
    const value = code.local("f32");
    code.do(i32.store(code.scratch, i32.const(1)));
    code.for(code.begin, code.end, 1, (item) => {
      pointer.set(i32.add(numbers, i32.shl(item, i32.const(2))));
      code.repeat(turns, () => value.set(f32.add(value, f32.const(1))));
      code.if(i32.eq(item, trap), () => pointer.set(i32.const(-4)));
      code.do(f32.store(pointer, f32.add(f32.load(pointer), f32.div(value, value))));
    });
  },
});

export async function run({ workers }: { readonly workers: number }): Promise<Threads> {
  const { startThreads, noThreadsReason: reason, defaultThreads } = browserPlatform();
  const lost: string[] = [];
  const none = { count: 0, lost, wrongJobs: 0, tookPart: [], trap: "" };
  if (!startThreads) return { hasThreads: false, reason, defaultThreads, ...none };

  const [control, scratch, scratchBytes, task, numbers] = [1024, 8192, 64, 16384, 32768];
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const bytes = assembleKernels([kernel], { shared: true, maximumPages: 1 });
  const module = await WebAssembly.compile(bytes);
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const onLost = (why: string) => void lost.push(why);
  const options = { memory, workers, control, scratch, scratchBytes, onLost };
  if (scratch < control + controlBytes) throw new RangeError("scratch memory overlaps");
  const pool = await startThreads(options);
  await pool.load(module, [kernel.name], [exports[kernel.name] as KernelFunction]);
  const { count } = pool;

  const view = new DataView(memory.buffer);
  const values = new Float32Array(memory.buffer, numbers, 1000);
  let wrongJobs = 0;
  const check = (items: number, chunk: number, turns: number) => {
    values.fill(0);
    writeTask(view, task, kernel, { numbers, trap: -1, turns });
    pool.run(0, task, items, chunk);
    if (!values.every((value, item) => value === (item < items ? 1 : 0))) wrongJobs++;
  };
  for (let job = 0; job < 2000; job++) check((job * 7) % 1000, 1 + (job % 50), 1);
  const tookPart = () =>
    Array.from(
      { length: workers },
      (_, w) => view.getInt32(scratch + scratchBytes * (w + 1), true) === 1,
    );
  while (!tookPart().every(Boolean)) {
    check(100, 1, 10_000);
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
  }
  // Until the workers sleep, and again.
  for (let job = 0; job < 10; job++) {
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
    check(1000, 1, 100);
  }

  let trap = "";
  writeTask(view, task, kernel, { numbers, trap: 500, turns: 1 });
  try {
    pool.run(0, task, 1000, 10);
  } catch (error) {
    trap = (error as Error).message;
  }
  check(1000, 10, 1);
  await pool.close();
  return {
    hasThreads: true,
    reason,
    defaultThreads,
    count,
    lost,
    wrongJobs,
    tookPart: tookPart(),
    trap,
  };
}
