import { describe, expect, test } from "vitest";
import type { Correction } from "../../src/core/correction.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import {
  type CorrectInput,
  corrections,
  correctWeight,
  resolveCorrection,
} from "../../src/correct/index.ts";
import { correctInput, layer, twoStreams } from "./samples.ts";

const streams = twoStreams(40, 10, 1);

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  return expect.unreachable();
}

test("a name or an object is resolved", () => {
  expect(resolveCorrection("qep")).toBe(corrections.qep);
  expect(resolveCorrection(corrections.auto)).toBe(corrections.auto);
  expect(() => resolveCorrection("toString" as "qep")).toThrow(
    'Unknown correction "toString": expected one of none, qep, gptaq, qronos, auto.',
  );
});

describe("options", () => {
  test.each([
    ["qep", { alpha: -0.1 }, "alpha", "-0.1: expected a number from 0 to 1"],
    ["qep", { alpha: 1.1 }, "alpha", "1.1: expected a number from 0 to 1"],
    ["gptaq", { alpha: Number.NaN }, "alpha", "NaN: expected a number from 0 to 1"],
    ["qep", { damping: -1 }, "damping", "-1: expected a finite number of at least 0"],
    ["qronos", { damping: Number.POSITIVE_INFINITY }, "damping", "Infinity: expected a finite"],
    ["gptaq", { damping: Number.NaN }, "damping", "NaN: expected a finite number"],
    ["qronos", { alpha: 0.5 }, "alpha", "none, because the correction qronos has no such option"],
    ["none", { damping: 0.5 }, "damping", "none, because the correction none has no such option"],
    ["auto", { alpha: 0.5 }, "alpha", "none, because the correction auto has no such option"],
  ] as const)("%s refuses %o", async (name, options, option, text) => {
    const error = await failure(correctWeight(correctInput(streams, 2, { options }), name));
    expect(isBitloomError(error, "bad-option")).toBe(true);
    expect(error).toMatchObject({ detail: { option } });
    expect(error.message).toContain(text);
  });

  test.each([{ alpha: 0 }, { alpha: 1 }, { damping: 0 }, { damping: 100 }])(
    "qep takes %o",
    async (options) => {
      const result = await correctWeight(correctInput(streams, 2, { options }), "qep");
      expect(result.target.data.every(Number.isFinite)).toBe(true);
    },
  );
});

test.each([undefined, 0])("auto with %o held-out rows is refused", async (rows) => {
  const input = correctInput(streams, 2);
  const holdout = rows === undefined || !input.holdout ? undefined : { ...input.holdout, rows };
  const error = await failure(correctWeight({ ...input, holdout }, "auto"));
  expect(isBitloomError(error, "bad-option")).toBe(true);
  expect(error.message).toContain(`got none for "${layer}"`);
});

describe("what the caller must guarantee", () => {
  const input = correctInput(streams, 2);
  const { grams } = input;
  const broken: [string, Partial<CorrectInput>][] = [
    ["weight shape", { weight: { ...input.weight, rows: 3 } }],
    ["disagree in K", { grams: { ...grams, drift: grams.drift.slice(1) } }],
    ["disagree in K", { grams: { ...grams, driftGram: grams.drift.slice(1) } }],
    ["held-out rows are not a part", { holdout: grams }],
  ];
  test.each(broken)("%s", async (text, change) => {
    const error = await failure(correctWeight({ ...input, ...change }, "qep"));
    expect(error.message).toContain("bug in bitloom");
    expect(error.message).toContain(text);
  });
});

describe("a correction of the caller's own", () => {
  const own = (more: Partial<Correction>): Correction => ({
    summary: "half of the weight",
    source: "this test",
    needs: [],
    parameters: {},
    correct: async ({ weight }) => ({
      target: { ...weight, data: weight.data.map((w) => w / 2) },
      alpha: 1,
      damping: 0,
    }),
    ...more,
  });

  test("is used, and J is measured for it", async () => {
    const input = correctInput(streams, 2);
    const { target, objective } = await correctWeight(input, own({}));
    expect(target.data[0]).toBe(input.weight.data[0] / 2);
    expect(objective.after).not.toBe(objective.before);
  });

  test("may not give numbers that are not finite, or another shape", async () => {
    const input = correctInput(streams, 2);
    const { weight } = input;
    const overflowing = own({
      correct: async () => ({
        target: { ...weight, data: weight.data.map(() => Number.POSITIVE_INFINITY) },
        alpha: 1,
        damping: 0,
      }),
    });
    const error = await failure(correctWeight(input, overflowing));
    expect(isBitloomError(error, "numeric")).toBe(true);
    expect(error.message).toContain(`Cannot correct "${layer}": expected a finite target`);
    const narrow = { rows: 1, cols: 10, data: new Float32Array(10) };
    const misshapen = own({ correct: async () => ({ target: narrow, alpha: 1, damping: 0 }) });
    const other = await failure(correctWeight(input, misshapen));
    expect(other.message).toContain("another shape");
  });
});

test("a signal that fired stops before the work and after it", async () => {
  const before = AbortSignal.abort();
  const options = { signal: before };
  const early = await failure(correctWeight(correctInput(streams, 2, { options }), "qep"));
  expect(isBitloomError(early, "aborted")).toBe(true);
  const controller = new AbortController();
  const input = correctInput(streams, 2, { options: { signal: controller.signal } });
  let calls = 0;
  const quantize: CorrectInput["quantize"] = (target) => {
    calls++;
    controller.abort();
    return input.quantize(target);
  };
  const late = await failure(correctWeight({ ...input, quantize }, "auto"));
  expect(isBitloomError(late, "aborted")).toBe(true);
  expect(calls).toBe(1);
});

test("a feed's objective is that of the target it amounts to", async () => {
  const fed = await correctWeight(correctInput(streams, 2, { takesFeed: true }), "gptaq");
  const folded = await correctWeight(correctInput(streams, 2), "gptaq");
  expect(fed.objective).toEqual(folded.objective);
  expect(fed.objective.after).not.toBe(fed.objective.before);
});
