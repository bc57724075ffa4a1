/** Memory of a session: blocks and plans never overlap, and everything given back can be taken again. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { Heap } from "../../src/engine/heap.ts";
import { Arena, sizeClass } from "../../src/runtime/session/arena.ts";

const disjoint = (ranges: readonly { start: number; end: number }[]) => {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  return sorted.every(({ start }, index) => index === 0 || start >= sorted[index - 1].end);
};

describe("Heap", () => {
  test("blocks never overlap, are aligned, and lie inside the memory that was asked for", () => {
    const step = fc.record({ bytes: fc.integer({ min: 0, max: 5000 }), free: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let limit = 0;
        const heap = new Heap(100, (bytes) => {
          limit = Math.max(limit, bytes);
        });
        const live: { start: number; end: number }[] = [];
        for (const { bytes, free } of steps) {
          if (free < live.length) heap.give(live.splice(free, 1)[0].start);
          const start = heap.take(bytes);
          expect(start % 64).toBe(0);
          expect(start).toBeGreaterThanOrEqual(100);
          live.push({ start, end: start + bytes });
          expect(start + bytes).toBeLessThanOrEqual(limit);
          expect(disjoint(live)).toBe(true);
        }
        for (const { start } of live) heap.give(start);
        expect(heap.usedBytes).toBe(0);
        // Everything is one free range again: it holds the largest block without growing.
        const before = limit;
        if (limit > 128) heap.take(limit - 128);
        expect(limit).toBe(before);
      }),
    );
  });
});

describe("Arena", () => {
  test("values that live at the same time never overlap", () => {
    const value = fc.record({ bytes: fc.nat(9000), life: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 40 }), (values) => {
        const arena = new Arena();
        const placed: { start: number; end: number; from: number; to: number }[] = [];
        for (const [step, { bytes, life }] of values.entries()) {
          const { offset } = arena.take(bytes, step + life);
          placed.push({ start: offset, end: offset + bytes, from: step, to: step + life });
          expect(offset + bytes).toBeLessThanOrEqual(arena.bytes);
          const alive = placed.filter(({ from, to }) => from <= step && to >= step);
          expect(disjoint(alive)).toBe(true);
          arena.finish(step);
        }
        const total = values.reduce((sum, { bytes }) => sum + sizeClass(bytes) + 64, 0);
        expect(arena.bytes).toBeLessThanOrEqual(total);
      }),
    );
  });

  test("a value that an alias reads later keeps its memory", () => {
    const arena = new Arena();
    const first = arena.take(2000, 1);
    arena.extend(first, 3);
    arena.finish(1);
    const second = arena.take(2000, 2);
    expect(second.offset).not.toBe(first.offset);
    arena.finish(2);
    arena.finish(3);
    expect(arena.take(2000, 4).offset).toBe(first.offset);
  });

  test("memory is used again after the last use", () => {
    const arena = new Arena();
    for (let step = 0; step < 100; step++) {
      arena.take(10_000, step + 1);
      arena.finish(step);
    }
    expect(arena.bytes).toBeLessThan(4 * sizeClass(10_000));
  });

  test("sizes grow by at most an eighth", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1025, max: 2 ** 31 }), (bytes) => {
        expect(sizeClass(bytes)).toBeGreaterThanOrEqual(bytes);
        expect(sizeClass(bytes)).toBeLessThanOrEqual(bytes * 1.125);
      }),
    );
  });
});

test("a model larger than the address space is refused with its size, and the memory stays usable", () => {
  const engine = new Engine({
    threads: 1,
    startThreads: undefined,
    label: "large.onnx",
    onThreadLost: () => undefined,
  });
  const used = engine.usedBytes;
  expect(() => engine.take(5 * 2 ** 30)).toThrow(
    /"large.onnx" needs 5.00 GiB of memory; WebAssembly memory ends at 4 GiB/,
  );
  expect(engine.usedBytes).toBe(used);
  const address = engine.take(1000);
  engine.give(address);
  expect(engine.usedBytes).toBe(used);
});
