/** Threads under Node: every item exactly once, the same bytes as one thread, and nothing left behind. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { spawnNodeThread, startNodeThreads } from "../../src/engine/platform/node-threads.ts";
import { threadsFor } from "../../src/engine/platform/platform.ts";
import { createStartThreads } from "../../src/engine/platform/thread-pool.ts";
import {
  maximumThreads as roomForThreads,
  states,
  stateWord,
  words,
} from "../../src/engine/platform/thread-protocol.js";
import { controlBytes, maximumThreads } from "../../src/engine/threads.ts";
import {
  addOne,
  type Bench,
  fill,
  multiply,
  numbers,
  openBench,
  pageBytes,
  trapAt,
} from "./thread-kernels.ts";

const delay = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

const statesOf = (bench: Bench, workers: number) =>
  Array.from({ length: workers }, (_, index) => Atomics.load(bench.words(), stateWord(index + 1)));

/** Resolves when all workers sleep; the test's time limit ends a wait in vain. */
async function sleepOf(bench: Bench, workers: number): Promise<void> {
  while (statesOf(bench, workers).some((state) => state !== states.asleep)) await delay(1);
}

describe.each([1, 2, 3])("a pool of %d workers", (workers) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench(startNodeThreads, workers);
  });
  afterAll(() => bench.pool.close());

  test("does every item exactly once in thousands of random jobs back to back", () => {
    expect(bench.pool.count).toBe(workers + 1);
    const most = 3000;
    const expected = new Int32Array(most);
    bench.int32(most).fill(0);
    const job = fc.record({
      start: fc.integer({ min: 0, max: most / 2 }),
      items: fc.integer({ min: 0, max: most / 2 }),
      chunk: fc.integer({ min: 1, max: 200 }),
    });
    const jobs = fc.array(job, { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(jobs, (list) => {
        for (const { start, items, chunk } of list) {
          bench.run(addOne, { numbers: numbers + 4 * start }, items, chunk);
          for (let item = start; item < start + items; item++) expected[item]++;
          // Without the cost of a report for each number.
          const now = bench.int32(most);
          if (now.some((value, index) => value !== expected[index])) expect(now).toEqual(expected);
        }
      }),
      { numRuns: 150, endOnFailure: true },
    );
    expect(Math.max(...expected)).toBeGreaterThan(100);
  });

  test("gives the bytes of one thread, jobs of two kernels in turn", () => {
    const length = 500;
    const make = () => Float32Array.from({ length }, (_, index) => 1 + index / 7);
    const factors = Array.from({ length: 300 }, (_, index) => 1 + ((index * 37) % 11) / 1e3);
    const results = [length, 7].map((chunk) => {
      bench.float32(length).set(make());
      for (const factor of factors) {
        bench.run(multiply, { numbers, factor, turns: 3 }, length, chunk);
        bench.run(addOne, { numbers }, length, chunk);
      }
      return bench.float32(length).slice();
    });
    expect(results[1]).toEqual(results[0]);
    expect(results[0]).not.toEqual(make());
  });

  test("all workers take part, each with scratch memory of its own", async () => {
    for (let thread = 0; thread <= workers; thread++) {
      new DataView(bench.memory.buffer).setInt32(bench.scratchOf(thread), 0, true);
    }
    const used = () =>
      Array.from({ length: workers + 1 }, (_, thread) =>
        new DataView(bench.memory.buffer).getInt32(bench.scratchOf(thread), true),
      );
    const wanted = used().map((_, thread) => bench.scratchOf(thread));
    // Long jobs, until the last worker was awake in one of them.
    while (used().some((address) => address === 0)) {
      bench.run(fill, { target: numbers, bytes: 65536 }, 16, 1);
      await delay(0);
    }
    expect(used()).toEqual(wanted);
  });

  test("idle workers sleep, and work again after that", async () => {
    await sleepOf(bench, workers);
    bench.int32(100).fill(0);
    for (let round = 1; round <= 20; round++) {
      bench.run(addOne, { numbers }, 100, 10);
      expect(bench.int32(100).every((value) => value === round)).toBe(true);
      await sleepOf(bench, workers);
    }
  });

  test("a caller that sleeps is woken by the last to finish", async () => {
    const wait = vi.spyOn(Atomics, "wait");
    try {
      // "ok" is a sleep that a notification ended; the test's time limit ends a wait in vain.
      while (!wait.mock.results.some(({ value }) => value === "ok")) {
        bench.run(multiply, { numbers, factor: 1, turns: 100_000 }, 2 * workers + 1, 1);
        await delay(0);
      }
    } finally {
      wait.mockRestore();
    }
  });

  test("a trap on any thread is an error of that run, and of that run only", () => {
    for (let round = 0; round < 200; round++) {
      const items = 64;
      const trap = (round * 5) % items;
      bench.int32(items).fill(0);
      let problem: unknown;
      try {
        bench.run(trapAt, { numbers, trap }, items, 1 + (round % 3));
      } catch (error) {
        problem = error;
      }
      expect(problem).toMatchObject({
        name: "BitloomError",
        code: "kernel",
        detail: { kernel: "trap-at" },
        message: expect.stringMatching(
          /"trap-at" failed on thread \d: memory access out of bounds/,
        ),
      });
      // Nothing twice, the item itself not at all.
      expect(Math.max(...bench.int32(items))).toBeLessThanOrEqual(1);
      expect(bench.int32(items)[trap]).toBe(0);
      bench.int32(items).fill(0);
      bench.run(trapAt, { numbers, trap: -1 }, items, 1);
      expect(bench.int32(items).every((value) => value === 1)).toBe(true);
    }
    expect(bench.pool.count).toBe(workers + 1);
    expect(bench.lost).toEqual([]);
  });

  test("the memory may grow between jobs, whether workers spin or sleep", async () => {
    for (let round = 0; round < 12; round++) {
      if (round % 2 === 0) await sleepOf(bench, workers);
      const target = bench.memory.buffer.byteLength;
      bench.memory.grow(1);
      bench.run(fill, { target, bytes: pageBytes / 16 }, 16, 1);
      const written = new Uint8Array(bench.memory.buffer, target, pageBytes);
      const expected = Uint8Array.from(written, (_, index) => Math.floor(index / (pageBytes / 16)));
      expect(Buffer.compare(written, expected)).toBe(0);
    }
  });
});

describe("the control block", () => {
  test("has the size and the room that the contract names", () => {
    expect(4 * words.count).toBe(controlBytes);
    expect(roomForThreads).toBe(maximumThreads);
    expect(stateWord(maximumThreads - 1)).toBe(words.count - 16);
  });

  test("is all that a pool writes when nothing runs", async () => {
    const bench = await openBench(startNodeThreads, 2);
    await sleepOf(bench, 2);
    const bytes = new Uint8Array(bench.memory.buffer);
    const { byteOffset, byteLength } = bench.words();
    expect(bytes.subarray(0, byteOffset).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(byteOffset + byteLength).every((byte) => byte === 0)).toBe(true);
    await bench.pool.close();
  });
});

test("200 pools opened and closed leave no thread", async () => {
  let running = 0;
  const startThreads = createStartThreads(() => {
    const thread = spawnNodeThread();
    running++;
    void thread.ended.then(() => running--);
    return thread;
  });
  for (let round = 0; round < 200; round++) {
    const bench = await openBench(startThreads, 1);
    expect(running).toBe(1);
    bench.run(addOne, { numbers }, 100, 10);
    await bench.pool.close();
    expect(running).toBe(0);
    expect(bench.lost).toEqual([]);
  }
});

describe.each([
  ["asleep", "await new Promise((resolve) => setTimeout(resolve, 100));"],
  ["just used", "pool.run(0, 8192, 1000, 10);"],
])("a pool that nobody closes, %s", (_name, last) => {
  test("lets the process end by itself, with exit code 0", () => {
    const dist = new URL("../../dist/", import.meta.url);
    const script = `
      const { startNodeThreads } = await import("${dist}src/engine/platform/node-threads.js");
      const { assembleKernels, defineKernel } = await import("${dist}native/kernel.js");
      const nothing = defineKernel({ name: "nothing", isa: "simd128", fields: {}, item: "item", build() {} });
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      const module = await WebAssembly.compile(assembleKernels([nothing], { shared: true, maximumPages: 1 }));
      const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
      const pool = await startNodeThreads({
        memory, workers: 2, control: 1024, scratch: 16384, scratchBytes: 64, onLost: console.error,
      });
      await pool.load(module, ["nothing"], [exports.nothing]);
      pool.run(0, 8192, 1000, 10);
      ${last}
      console.log(pool.count);`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: fileURLToPath(dist),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(output).toBe("3\n");
  });
});

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 2],
  [6, 3],
  [8, 4],
  [64, 4],
])("%d logical processors: %d threads", (processors, threads) => {
  expect(threadsFor(processors)).toBe(threads);
});
