import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  cutWindows,
  describeProtocol,
  plainProtocol,
  protocols,
  windowOverlap,
} from "../../../src/calibrate/data/protocol.ts";
import type { Protocol } from "../../../src/core/dataset.ts";

const stream = (length: number) => Int32Array.from({ length }, (_, i) => i);

describe("cutWindows", () => {
  test("plain windows predict every id but the first exactly once, in order", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 60 }),
        (window, more) => {
          const windows = cutWindows(stream(window + 1 + more), plainProtocol(window));
          const targets = windows.flatMap(({ ids }) => Array.from(ids.subarray(1)));
          const count = Math.floor((window + more) / window) * window;
          expect(targets).toEqual(Array.from({ length: count }, (_, i) => i + 1));
        },
      ),
    );
  });

  test("overlapping windows score each prediction once", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 60 }),
        (window, stride, more) => {
          fc.pre(stride <= window);
          const protocol: Protocol = { ...plainProtocol(window), stride };
          const windows = cutWindows(stream(window + 1 + more), protocol);
          const scored = windows.flatMap(({ ids, scoreFrom }) =>
            Array.from(ids.subarray(1 + scoreFrom)),
          );
          expect(scored).toEqual(Array.from({ length: scored.length }, (_, i) => i + 1));
          const shared = windows.filter(({ ids }) => ids[0] > 0 && ids[0] < window).length;
          if (shared === windows.length - 1) return;
          expect(shared).toBe(windowOverlap(protocol));
        },
      ),
    );
  });

  test("hf-2048 predicts all of a chunk but its first token", () => {
    const windows = cutWindows(stream(2 * 2048), protocols["hf-2048"]);
    expect(windows.map(({ ids }) => [ids[0], ids[1], ids.at(-1), ids.length])).toEqual([
      [0, 1, 2047, 2048],
      [2048, 2049, 4095, 2048],
    ]);
  });

  test("llama.cpp-512 replaces each chunk's first token and scores positions 256 to 510", () => {
    const windows = cutWindows(stream(1024), protocols["llama.cpp-512"], 9999);
    expect(windows).toHaveLength(2);
    const [, second] = windows;
    expect(Array.from(second.ids.subarray(0, 2))).toEqual([9999, 513]);
    const scored = second.ids.subarray(1 + second.scoreFrom);
    expect([scored.length, scored[0], scored.at(-1)]).toEqual([255, 512 + 257, 1023]);
    expect(cutWindows(stream(1024), protocols["llama.cpp-512"])[1].ids[0]).toBe(512);
  });

  test("windows are copies of the stream", () => {
    const ids = stream(9);
    cutWindows(ids, { ...plainProtocol(4), bosEachWindow: true }, 7);
    expect(ids).toEqual(stream(9));
  });

  test("says how many tokens a window needs and how many there are", () => {
    expect(() => cutWindows(stream(256), plainProtocol(256))).toThrow(
      "expected at least 257 tokens, got 256",
    );
  });

  test.each([
    ["window", { window: 0 }],
    ["window", { window: 2.5 }],
    ["stride", { stride: 0 }],
    ["scoreFrom", { scoreFrom: 4 }],
    ["scoreFrom", { scoreFrom: -1 }],
  ])("refuses a wrong %s", (option, change) => {
    expect(() => cutWindows(stream(99), { ...plainProtocol(4), ...change })).toThrow(
      `Option ${option}`,
    );
  });
});

test("describeProtocol tells the fine print in one line", () => {
  expect(describeProtocol(plainProtocol(256))).toBe(
    "windows of 256 predictions, stride 256, BOS as the tokenizer sets it once, all scored",
  );
  expect(describeProtocol(plainProtocol(8, "none"))).toContain("no BOS");
  expect(describeProtocol({ ...plainProtocol(8, 3), stride: 6 })).toBe(
    "windows of 8 predictions, stride 6, BOS id 3 once, scored from prediction 2",
  );
  expect(describeProtocol(protocols["llama.cpp-512"])).toBe(
    "windows of 511 predictions, stride 512, BOS as the tokenizer sets it in each window, scored from prediction 256",
  );
});
