import { describe, expect, test } from "vitest";
import { compareResults, exitCode } from "../../benchmarks/harness/compare.ts";
import type { Figure, FigureName } from "../../benchmarks/harness/figures.ts";
import type { Key, ResultLine } from "../../benchmarks/harness/results.ts";

const environment = { machine: "m", cpu: "c", node: "20", bitloom: "0", commit: "a", seed: 0 };
const line = (
  figures: Partial<Record<FigureName, Figure>>,
  key: Key = { k: 1 },
  benchmark = "kernels",
): ResultLine => ({ benchmark, key, figures, environment });

const verdictOf = (figure: FigureName, before: Figure, after: Figure, tolerance = 0.05) =>
  compareResults([line({ [figure]: before })], [line({ [figure]: after })], tolerance).changes[0]
    .verdict;
const band = (value: number, half: number) => ({ value, low: value - half, high: value + half });

describe("verdicts", () => {
  test("bands that overlap are noise, however far apart the values", () => {
    expect(verdictOf("ms", band(10, 3), band(14, 3))).toBe("noise");
    expect(verdictOf("ms", band(10, 1), band(14, 1))).toBe("worse");
  });

  test("a figure without a band is its own band, and equal ones do not differ", () => {
    expect(verdictOf("bytes", 100, 100)).toBe("noise");
    expect(verdictOf("bytes", 0, 0)).toBe("noise");
    expect(verdictOf("bytes", 0, 1)).toBe("worse");
  });

  test("changes within the tolerance are let pass", () => {
    expect(verdictOf("kl", 1, 1.04)).toBe("tolerated");
    expect(verdictOf("kl", 1, 1.06)).toBe("worse");
    expect(verdictOf("kl", 1, 1.06, 0.1)).toBe("tolerated");
  });

  test("each figure knows which way is better", () => {
    expect(verdictOf("ms", 10, 5)).toBe("better");
    expect(verdictOf("tokensPerSecond", 10, 5)).toBe("worse");
    expect(verdictOf("tokensPerSecond", 10, 20)).toBe("better");
    expect(verdictOf("rankCorrelation", -0.5, 0.5)).toBe("better");
    expect(verdictOf("rankCorrelation", -0.1, -0.5)).toBe("worse");
  });
});

describe("matching", () => {
  test("is by benchmark and key, whatever the order of the key's entries", () => {
    const before = [line({ ms: 1 }, { a: 1, b: "x" })];
    const after = [line({ ms: 9 }, { b: "x", a: 1 }), line({ ms: 1 }, { a: 2, b: "x" })];
    const { changes, onlyBefore, onlyAfter } = compareResults(before, after, 0.05);
    expect(changes.map(({ after: value }) => value)).toEqual([9]);
    expect([onlyBefore, onlyAfter]).toEqual([[], ["kernels: a 2, b x"]]);
    const other = compareResults(before, [line({ ms: 9 }, { a: 1, b: "x" }, "session")], 0.05);
    expect(other.changes).toEqual([]);
  });

  test("the last line of a key counts", () => {
    const { changes } = compareResults([line({ ms: 5 }), line({ ms: 1 })], [line({ ms: 1 })], 0.05);
    expect(changes.map(({ verdict }) => verdict)).toEqual(["noise"]);
  });

  test("figures that one of them lacks are left out", () => {
    expect(compareResults([line({ ms: 1 })], [line({ gops: 1 })], 0.05).changes).toEqual([]);
  });

  test("says what differs between the machines", () => {
    const after = { ...line({ ms: 1 }), environment: { ...environment, node: "24" } };
    expect(compareResults([line({ ms: 1 })], [after], 0.05).environment).toEqual(["node 20 -> 24"]);
  });
});

describe("the exit code", () => {
  const both = [line({ ms: 1 }, { k: 1 }), line({ ms: 1 }, { k: 2 })];
  const code = (after: ResultLine[], isPartial = false) =>
    exitCode(compareResults(both, after, 0.05), isPartial);

  test("tells worse figures from none", () => {
    expect(code(both)).toBe(0);
    expect(code([line({ ms: 2 }, { k: 1 }), both[1]])).toBe(3);
    expect(code([line({ ms: 1 }, { k: 3 })])).toBe(2);
  });

  test("does not let a missing measurement pass, unless only a part was measured", () => {
    expect(code([both[0]])).toBe(3);
    expect(code([both[0]], true)).toBe(0);
    expect(code([line({ ms: 2 }, { k: 1 })], true)).toBe(3);
  });
});
