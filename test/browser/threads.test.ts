/** Threads in a real browser: Workers from a page's main thread, under a policy that forbids code from text. */
import { describe, expect, test } from "vitest";
import { openPage, skipNote } from "./chromium.ts";

type Threads = typeof import("./threads.page.ts");

describe.skipIf(skipNote !== "")(`in Chromium${skipNote}`, () => {
  test("an isolated page: two workers do every item exactly once and report a trap", async () => {
    const page = await openPage();
    try {
      const facts = await page.run<Threads>("threads", { workers: 2 });
      expect(facts).toMatchObject({
        hasThreads: true,
        count: 3,
        lost: [],
        wrongJobs: 0,
        tookPart: [true, true],
      });
      expect(facts.reason).toBe(undefined);
      expect(facts.trap).toMatch(
        /^Kernel "count" failed on thread \d: memory access out of bounds/,
      );
      expect(facts.defaultThreads).toBeGreaterThanOrEqual(1);
      expect(facts.defaultThreads).toBeLessThanOrEqual(4);
    } finally {
      await page.close();
    }
  });

  test("a page that is not isolated: no threads, and why", async () => {
    const page = await openPage({ isolated: false });
    try {
      expect(await page.run<Threads>("threads", { workers: 2 })).toMatchObject({
        hasThreads: false,
        reason: expect.stringMatching(/not cross-origin isolated.*Cross-Origin-Opener-Policy/),
        defaultThreads: 1,
        count: 0,
      });
    } finally {
      await page.close();
    }
  });
});
