import { expect, test } from "vitest";
import type { ResultLine } from "../../benchmarks/harness/results.ts";
import { matches, toQualityResults } from "../../benchmarks/quality/points.ts";
import {
  methodsTable,
  number,
  rivalsTable,
  scorersTable,
  verdict,
} from "../../benchmarks/quality/tables.ts";

const environment = { machine: "m", cpu: "c", node: "20", bitloom: "0", commit: "a", seed: 0 };
const line = (
  key: ResultLine["key"],
  kl: number,
  details: Readonly<Record<string, unknown>> = {},
): ResultLine => ({
  benchmark: "quality",
  key: { model: "toy", ...key },
  figures: { bytes: 1234, perplexity: 10 + kl, kl: { value: kl, low: kl, high: kl } },
  details: { bitsPerWeight: 2.5, floatPerplexity: 10, ...details },
  environment,
});
const difference = (value: number, half: number) => ({
  difference: { kl: { value, low: value - half, high: value + half } },
});
const uniform = { kind: "uniform", quantizer: "gptq", propagation: "one-by-one" };
const ours = { kind: "default", propagation: "auto" };
const results = toQualityResults([
  line({ ...uniform, format: "int2-b32" }, 0.5),
  line({ ...uniform, format: "int2-b64" }, 0.6),
  line(
    { kind: "mixed", scorer: "zd", allocator: "ranked", propagation: "one-by-one", bits: 2 },
    0.25,
  ),
  line({ ...ours, at: "2 bits" }, 0.1, { budgetBytes: 1234 }),
  line({ ...ours, at: "uniform gptq int2-b32 one-by-one" }, 0.1, difference(-0.4, 0.01)),
  line({ kind: "rival", tool: "other", method: "4 bits" }, 0.02, { version: "v1.2" }),
  line({ ...ours, at: "other 4 bits" }, 0.03, difference(0.01, 0.002)),
  {
    ...line({ kind: "ranks", scorer: "zd", bits: 2 }, 0),
    figures: { rankCorrelation: 0.321 },
  },
]);

test("methods stand in rows, the best format of a width in its column", () => {
  expect(methodsTable(results)).toBe(
    [
      "| plan | 2 bits: 1,234 bytes |",
      "| --- | --: |",
      "| best uniform gptq | 10.50 / 0.500 |",
      "| `zd` + `ranked` | 10.25 / 0.250 |",
      "| **the default** | 10.10 / 0.100 |",
    ].join("\n"),
  );
});

test("scorers are compared with the best uniform plan", () => {
  expect(scorersTable([results]).split("\n")[2]).toBe("| `zd` | 0.50 / – / – | 0.32 / – / – |");
});

test("other tools stand beside the default at their bytes", () => {
  expect(rivalsTable(results).split("\n")[2]).toBe(
    "| other 1.2: 4 bits | 1,234 | 10.02 / 0.0200 | 10.03 / 0.0300 | +0.0100 ± 0.0020 |",
  );
});

test("the verdict names every exception and by how much", () => {
  expect(matches(results.points, "uniform").map(({ isWorse }) => isWorse)).toEqual([false]);
  expect(verdict(results)).toBe(
    "toy: the default's KL at the same bytes is at or below 1 of 1 best uniform plans (of the widths, quantizers and propagations in the committed results) and at or below 0 of 1 files of other tools (not other 4 bits: 0.0300 against 0.0200).",
  );
});

test("numbers have three digits and no exponent", () => {
  expect([12.345, 0.5, 0.01234, 0.0000486, 123.4].map(number)).toEqual([
    "12.3",
    "0.500",
    "0.0123",
    "0.0000486",
    "123",
  ]);
});
