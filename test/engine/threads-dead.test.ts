/** Threads that die: at worst an error of one run, never a hang, never a wrong number. */
import { describe, expect, test } from "vitest";
import { spawnNodeThread } from "../../src/engine/platform/node-threads.ts";
import { createStartThreads, type Thread } from "../../src/engine/platform/thread-pool.ts";
import { addOne, type Bench, multiply, numbers, openBench } from "./thread-kernels.ts";

const delay = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** A thread that dies in the way that `dying-thread.js` knows under this name. */
const dying = (death: string) => () => {
  const module = new URL("./dying-thread.js", import.meta.url);
  const program = `const { live } = await import("${module}"); live("${death}");`;
  return spawnNodeThread(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
};

/** Runs jobs until one throws; returns what it threw. */
async function firstProblem(bench: Bench): Promise<unknown> {
  for (;;) {
    try {
      bench.run(multiply, { numbers, factor: 1, turns: 10_000 }, 200, 1);
    } catch (error) {
      return error;
    }
    await delay(0);
  }
}

/** Each item of some jobs exactly once. */
function checkJobs(bench: Bench): void {
  bench.int32(1000).fill(0);
  for (let round = 1; round <= 50; round++) {
    bench.run(addOne, { numbers }, 1000, 13);
    expect(bench.int32(1000).every((value) => value === round)).toBe(true);
  }
}

describe.each(["exits", "hangs"])("a thread that %s in the middle of its items", (death) => {
  test("fails that run; after recovery the pool goes on without it", async () => {
    const spawned: Thread[] = [];
    const programs = [dying(death), () => spawnNodeThread()];
    const startThreads = createStartThreads(() => {
      const thread = programs[spawned.length]();
      spawned.push(thread);
      return thread;
    }, 300);
    const bench = await openBench(startThreads, 2);
    expect(bench.pool.count).toBe(3);
    expect(await firstProblem(bench)).toMatchObject({
      name: "BitloomError",
      code: "kernel",
      detail: { kernel: "multiply" },
      message: expect.stringMatching(
        /A thread died in the middle of kernel "multiply".* goes on with 2 of 3 threads\.$/,
      ),
    });
    expect(bench.lost).toEqual(['it stopped in the middle of kernel "multiply"']);
    expect(bench.pool.count).toBe(2);

    // Before recovery the thread might still write.
    expect(bench.pool.recovery).toBeInstanceOf(Promise);
    expect(() => bench.run(addOne, { numbers }, 10, 1)).toThrow(/cannot run: .*Await the pool's/);
    let hasEnded = false;
    void spawned[0].ended.then(() => {
      hasEnded = true;
    });
    await bench.pool.recovery;
    expect(hasEnded).toBe(true);
    expect(bench.pool.recovery).toBe(undefined);
    checkJobs(bench);
    expect(bench.lost.length).toBe(1);
    await bench.pool.close();
    await spawned[1].ended;
  });

  test("the only one: the caller goes on alone; close after the error, without recovery, ends it", async () => {
    const spawned: Thread[] = [];
    const startThreads = createStartThreads(() => {
      spawned.push(dying(death)());
      return spawned[spawned.length - 1];
    }, 300);
    const bench = await openBench(startThreads, 1);
    expect(await firstProblem(bench)).toMatchObject({ code: "kernel" });
    expect(bench.pool.count).toBe(1);
    await bench.pool.recovery;
    checkJobs(bench);
    await bench.pool.close();

    const other = await openBench(startThreads, 1);
    await firstProblem(other);
    await other.pool.close();
    await spawned[1].ended;
  });
});

describe.each([
  ["throws at start", /^it failed: out of luck$/],
  ["exits at start", /^it ended with exit code 3$/],
])("a thread that %s", (death, reason) => {
  test("is left out", async () => {
    const bench = await openBench(createStartThreads(dying(death)), 2);
    expect(bench.pool.count).toBe(1);
    expect(bench.lost).toEqual([expect.stringMatching(reason), expect.stringMatching(reason)]);
    checkJobs(bench);
    await bench.pool.close();
  });
});

test("a thread that cannot be made is left out", async () => {
  let count = 0;
  const startThreads = createStartThreads(() => {
    if (count++ === 0) throw new Error("too many threads");
    return spawnNodeThread();
  });
  const bench = await openBench(startThreads, 2);
  expect(bench.pool.count).toBe(2);
  expect(bench.lost).toEqual(["too many threads"]);
  checkJobs(bench);
  await bench.pool.close();
});

test("threads that are killed at any moment: a right result or an error", async () => {
  let whole = 0;
  for (let round = 0; round < 40; round++) {
    const spawned: Thread[] = [];
    const startThreads = createStartThreads(() => {
      spawned.push(spawnNodeThread());
      return spawned[spawned.length - 1];
    }, 200);
    const bench = await openBench(startThreads, 2);
    checkJobs(bench);
    if (round % 4 === 0) await delay(2);
    const killed = spawned[round % 2].end();
    for (let job = 0; job <= round % 5; job++) {
      bench.float32(100).fill(1);
      try {
        bench.run(multiply, { numbers, factor: 1.001, turns: 1 + round * 200 }, 100, 3);
        const [first] = bench.float32(1);
        expect(first).toBeGreaterThan(1);
        expect(bench.float32(100).every((value) => value === first)).toBe(true);
        whole++;
      } catch (error) {
        expect(error).toMatchObject({ name: "BitloomError", code: "kernel" });
        await bench.pool.recovery;
      }
    }
    await killed;
    expect(bench.pool.count).toBe(2);
    expect(bench.lost.length).toBe(1);
    checkJobs(bench);
    await bench.pool.close();
  }
  expect(whole).toBeGreaterThan(0);
});
