import { describe, expect, test } from "vitest";
import { dodge } from "../../benchmarks/charts/dodge.ts";
import { quantile, summarize } from "../../benchmarks/harness/figures.ts";
import { createProgress, duration } from "../../benchmarks/harness/progress.ts";
import { budgetsFor } from "../../benchmarks/quality/budgets.ts";
import { distinctPlans, type Plan, planId } from "../../benchmarks/quality/plan.ts";
import { parseFormat } from "../../src/index.ts";

const pick = (layer: string, format: string, loss = 0) => ({
  layer,
  format: parseFormat(format),
  bytes: 1,
  loss,
});
const plan = (picks: Plan["picks"], rest: Partial<Plan> = {}): Plan => ({
  quantizer: "gptq",
  propagation: "one-by-one",
  picks,
  ...rest,
});

describe("plans", () => {
  const one = plan([pick("a", "int4-b32"), pick("b", "int2-b32")]);

  test("are the same when they make the same model", () => {
    const reordered = plan([pick("b", "int2-b32", 3), pick("a", "int4-b32", 5)]);
    expect(planId(reordered)).toBe(planId(one));
    expect([...distinctPlans([one, reordered]).values()]).toHaveLength(1);
  });

  test("differ by formats, quantizer and propagation", () => {
    const others = [
      plan([pick("a", "int4-b32"), pick("b", "int2-b64")]),
      plan(one.picks, { quantizer: "rtn" }),
      plan(one.picks, { propagation: "auto" }),
    ];
    expect(distinctPlans([one, ...others, one]).size).toBe(4);
  });
});

describe("budgets", () => {
  const uniform = new Map([
    [2, 100],
    [3, 140],
    [5, 240],
  ]);

  test("are the bytes of uniform plans, and evenly between them", () => {
    expect(budgetsFor(uniform, [2, 2.5, 3, 4])).toEqual([
      { bits: 2, bytes: 100 },
      { bits: 2.5, bytes: 120 },
      { bits: 3, bytes: 140 },
      { bits: 4, bytes: 190 },
    ]);
  });

  test("outside the widths are left out", () => {
    expect(budgetsFor(uniform, [1.5, 5, 8])).toEqual([{ bits: 5, bytes: 240 }]);
  });
});

describe("figures", () => {
  test("are medians with quartiles, also through a function that falls", () => {
    expect(quantile([3, 1, 2], 0.5)).toBe(2);
    const samples = [1, 2, 4, 8];
    expect(summarize(samples)).toEqual({ value: 4, low: 2, high: 8 });
    expect(summarize(samples, (ms) => 8 / ms)).toEqual({ value: 2, low: 1, high: 4 });
  });
});

describe("progress", () => {
  test("tells how long the rest will take, by kinds of steps", () => {
    let text = "";
    const progress = createProgress({
      write: (part) => {
        text += part;
      },
    });
    progress.expect("short", 2);
    progress.expect("long", 2);
    progress.done("short", "first", 1_000);
    progress.done("long", "second", 60_000);
    progress.note("a note");
    expect(text.split("\n")).toEqual([
      "[1/4] first  1.0 s, 3 s left",
      "[2/4] second  60.0 s, 1 min left",
      "a note",
      "",
    ]);
    expect([duration(59_400), duration(61_000), duration(3_720_000)]).toEqual([
      "59 s",
      "1 min",
      "1 h 2 min",
    ]);
  });
});

describe("labels", () => {
  test("stay where they have room", () => {
    expect(dodge([10, 50, 30], 15)).toEqual([10, 50, 30]);
  });

  test("move apart about their middle, in their order", () => {
    expect(dodge([20, 20], 10)).toEqual([15, 25]);
    expect(dodge([21, 20, 60], 10)).toEqual([25.5, 15.5, 60]);
    const places = dodge([1, 2, 3, 30, 31], 10).toSorted((a, b) => a - b);
    places.slice(1).forEach((place, at) => {
      expect(place - places[at]).toBeGreaterThanOrEqual(10 - 1e-9);
    });
  });
});
