import { describe, expect, test } from "vitest";
import { readReport } from "../../src/report/index.ts";
import { sampleQuality, sampleReport, smallReport } from "./sample.ts";

const first = sampleReport();

describe("what is no report is refused", () => {
  test.each([
    [[], /expected an object/],
    [{ command: "plan" }, /got that of "plan"/],
    [{ hello: 1 }, /got another document/],
    [{ ...first, version: 2 }, /expected version 1, got 2/],
    [{ version: 1, command: "quantize", error: { code: "x" } }, /the run failed/],
    [{ ...first, layers: [] }, /expected a list that is not empty at layers/],
    [{ ...first, weights: "many" }, /expected a number at weights/],
    [{ ...first, layers: [{ ...first.layers[0], bits: null }] }, /a number at layers\.\*\.bits/],
    [{ ...first, quality: { kind: "language" } }, /a number at quality\.windows/],
    [
      { ...first, quality: { ...sampleQuality(), intervals: {} } },
      /quality\.intervals\.perplexityFloat\.value/,
    ],
    [{ ...smallReport(), quality: { kind: "outputs", samples: 1 } }, /a list at quality\.outputs/],
    [{ ...first, notices: undefined }, /a list at notices/],
    [{ ...first, decision: { frontier: [{}] } }, /a number at decision\.frontier\.\*\.bytes/],
    [{ ...first, environment: {} }, /a number at environment\.peakMemoryBytes/],
    [{ ...first, skipped: null }, /a list at skipped/],
    [{ ...first, scores: { format: "int4-b32" } }, /a list at scores\.scorers/],
    [{ ...first, errorGrowth: { samples: 8 } }, /a list at errorGrowth\.layers/],
  ])("%#", (value, message) => {
    const path = "some.json";
    expect(() => readReport(value, path)).toThrow(message);
    expect(() => readReport(value, path)).toThrow(/^Cannot use "some\.json" as a report: /);
  });

  test("a good one comes back as it is", () => {
    expect(readReport(JSON.parse(JSON.stringify(first)), "a.json")).toEqual(first);
  });
});
