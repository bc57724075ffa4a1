import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitDataset } from "../../../src/calibrate/data/splits.ts";

const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

describe("splitDataset", () => {
  test("seed 0 takes the first samples, in order", () => {
    const sizes = { calibrate: 64, search: 16, gate: 8, evaluate: 4 };
    expect(splitDataset(1000, 0, sizes)).toEqual({
      calibrate: range(0, 64),
      search: range(64, 16),
      gate: range(80, 8),
      evaluate: range(88, 4),
    });
  });

  test("for every seed: disjoint, contiguous, in range, and apart by the overlap", () => {
    const size = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 200 }),
        fc.integer({ min: 0, max: 1000 }),
        fc.record({ calibrate: size, search: size, gate: size, evaluate: fc.nat(20) }),
        fc.nat(3),
        (total, seed, sizes, overlap) => {
          const parts = sizes.evaluate > 0 ? 4 : 3;
          fc.pre(total >= parts + overlap * (parts - 1));
          const splits = splitDataset(total, seed, sizes, overlap);
          const regions = Object.values(splits)
            .filter(({ length }) => length > 0)
            .sort((a, b) => a[0] - b[0]);
          expect(regions).toHaveLength(parts);
          let end = -overlap;
          for (const region of regions) {
            expect(region).toEqual(range(region[0], region.length));
            expect(region[0]).toBeGreaterThanOrEqual(end + overlap);
            end = region[0] + region.length;
          }
          expect(end).toBeLessThanOrEqual(total);

          const wanted = sizes.calibrate + sizes.search + sizes.gate + sizes.evaluate;
          const used = regions.reduce((sum, { length }) => sum + length, 0);
          expect(used).toBe(Math.min(wanted, total - overlap * (parts - 1)));
          for (const [name, samples] of Object.entries(splits)) {
            expect(samples.length).toBeLessThanOrEqual(sizes[name as keyof typeof sizes]);
          }
        },
      ),
    );
  });

  test("the same seed gives the same splits and seeds differ", () => {
    const sizes = { calibrate: 4, search: 4, gate: 4 };
    const places = range(0, 8).map((seed) => splitDataset(100, seed, sizes));
    expect(splitDataset(100, 5, sizes)).toEqual(places[5]);
    expect(new Set(places.map((place) => JSON.stringify(place))).size).toBe(8);
  });

  test("too little data shrinks in proportion", () => {
    const splits = splitDataset(12, 0, { calibrate: 64, search: 32, gate: 1 });
    expect(splits.gate).toHaveLength(1);
    expect(splits.calibrate.length).toBeGreaterThan(splits.search.length);
    expect(splits.calibrate.length + splits.search.length).toBe(11);
  });

  test("a split of size 0 is empty and takes no place", () => {
    expect(splitDataset(2, 0, { calibrate: 5, search: 0, gate: 5 })).toEqual({
      calibrate: [0],
      search: [],
      gate: [1],
      evaluate: [],
    });
  });

  test("a unit rounds every split up to whole units, and shrinks by whole units", () => {
    const sizes = { calibrate: 6, search: 4, gate: 1 };
    for (const seed of [0, 3]) {
      const splits = splitDataset(40, seed, sizes, 1, 4);
      expect([splits.calibrate, splits.search, splits.gate].map(({ length }) => length)).toEqual([
        8, 4, 4,
      ]);
      const small = splitDataset(15, seed, sizes, 1, 4);
      expect([small.calibrate, small.search, small.gate].map(({ length }) => length)).toEqual([
        4, 4, 4,
      ]);
    }
    expect(() => splitDataset(13, 0, sizes, 1, 4)).toThrow("expected at least 14 samples, got 13");
    expect(() => splitDataset(13, 0, sizes, 0, 0)).toThrow("Cannot split by 0");
  });

  test("refuses fewer samples than splits, counting the gaps", () => {
    const sizes = { calibrate: 1, search: 1, gate: 1 };
    expect(() => splitDataset(2, 0, sizes)).toThrow("expected at least 3 samples, got 2");
    expect(() => splitDataset(4, 0, sizes, 1)).toThrow("expected at least 5 samples, got 4");
    expect(() => splitDataset(9, 0, { ...sizes, gate: 1.5 })).toThrow('Split "gate"');
  });
});
