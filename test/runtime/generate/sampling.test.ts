import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRandom } from "../../../src/core/random.ts";
import { createSampler, type SamplingOptions } from "../../../src/runtime/generate/sampling.ts";

const logitsOf = fc
  .array(fc.integer({ min: -40, max: 40 }), { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values, (value) => value / 8));

/** Probabilities by the definition: sort everything, cut, renormalize. */
function distribution(
  logits: Float32Array,
  { temperature = 1, topK = logits.length, topP = 1 }: SamplingOptions,
): number[] {
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b).slice(0, topK);
  const weights = order.map((id) => Math.exp((logits[id] - logits[order[0]]) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const result = new Array<number>(logits.length).fill(0);
  let sum = 0;
  for (const [index, id] of order.entries()) {
    result[id] = weights[index];
    sum += weights[index];
    if (sum >= topP * total) break;
  }
  return result.map((weight) => weight / sum);
}

const fixed = (value: number) => ({ ...createRandom(0), next: () => value });

describe("greedy", () => {
  test("takes the greatest logit, the first of equal ones, and asks for no random number", () => {
    const random = {
      ...createRandom(0),
      next: () => {
        throw new Error("drawn");
      },
    };
    fc.assert(
      fc.property(logitsOf, (logits) => {
        expect(createSampler({}, random)(logits)).toBe(logits.indexOf(Math.max(...logits)));
      }),
    );
  });
});

describe("draws", () => {
  const options = fc.record({
    temperature: fc.constantFrom(0.25, 0.5, 1, 2),
    topK: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
    topP: fc.option(fc.constantFrom(0.1, 0.5, 0.9, 0.99, 1), { nil: undefined }),
  });

  test("each token gets the share of [0, 1) that its probability is, to 2 in 1000", () => {
    const steps = 1000;
    fc.assert(
      fc.property(logitsOf, options, (logits, given) => {
        const counts = new Array<number>(logits.length).fill(0);
        for (let i = 0; i < steps; i++) {
          counts[createSampler(given, fixed((i + 0.5) / steps))(logits)]++;
        }
        const wanted = distribution(logits, defined(given));
        for (const [id, count] of counts.entries()) {
          expect(Math.abs(count / steps - wanted[id])).toBeLessThan(2e-3);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("one token is left with top-k 1, and with a top-p that the first one has alone", () => {
    fc.assert(
      fc.property(logitsOf, fc.double({ min: 0, max: 0.999, noNaN: true }), (logits, uniform) => {
        const best = logits.indexOf(Math.max(...logits));
        for (const one of [{ topK: 1 }, { topP: 1e-9 }]) {
          expect(createSampler({ temperature: 1, ...one }, fixed(uniform))(logits)).toBe(best);
        }
      }),
    );
  });

  test("a token of −∞ is never drawn", () => {
    const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 0, Number.NEGATIVE_INFINITY);
    for (const given of [{}, { topK: 3 }, { topK: 2 }, { topP: 0.99 }]) {
      for (const uniform of [0, 0.5, 1 - 2 ** -32]) {
        expect(createSampler({ temperature: 1, ...given }, fixed(uniform))(logits)).toBe(1);
      }
    }
  });
});

describe("refuses", () => {
  const cases: readonly (readonly [SamplingOptions, RegExp])[] = [
    [{ temperature: -1 }, /temperature: expected a number from 0, got -1/],
    [{ temperature: Number.NaN }, /temperature/],
    [{ temperature: 1, topK: 0 }, /topK: expected a whole number from 1/],
    [{ temperature: 1, topK: 1.5 }, /topK/],
    [{ temperature: 1, topP: 0 }, /topP: expected a number above 0/],
    [{ temperature: 1, topP: 1.1 }, /topP/],
    [{ topK: 5 }, /topK does nothing at temperature 0/],
    [{ temperature: 0, topP: 0.5 }, /topP does nothing at temperature 0/],
  ];
  test.each(cases)("%j", (options, message) => {
    expect(() => createSampler(options, createRandom(0))).toThrow(message);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("logits with %d", (value) => {
    const logits = Float32Array.of(0, value, 1);
    for (const options of [{}, { temperature: 1 }, { temperature: 1, topK: 1 }]) {
      expect(() => createSampler(options, createRandom(0))(logits)).toThrow(
        new RegExp(`no finite numbers: expected 3 numbers, got ${value} for token 1`),
      );
    }
  });
});

function defined(options: {
  readonly temperature: number;
  readonly topK: number | undefined;
  readonly topP: number | undefined;
}): SamplingOptions {
  const { temperature, topK, topP } = options;
  return { temperature, ...(topK && { topK }), ...(topP && { topP }) };
}
