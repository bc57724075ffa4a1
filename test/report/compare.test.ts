import { describe, expect, test } from "vitest";
import { compareReports, comparisonRows, type QuantizeReport } from "../../src/report/index.ts";
import { sampleQuality, sampleReport, secondReport, smallReport } from "./sample.ts";

const first = sampleReport();
const second = secondReport();

test("says what differs and nothing else", () => {
  const { changed, options, layers, quality } = compareReports(first, second);
  expect(layers).toBe(first.layers.length);
  expect(changed.map(({ name, b }) => [name, b?.format])).toEqual([
    [first.layers[3].name, "int8-b32"],
  ]);
  expect(options).toEqual({ budget: { a: "4bpw", b: "4.2bpw" } });
  expect(quality).toEqual({
    comparable: true,
    statement: "Both have the same KL divergence on the same windows.",
  });
  expect(compareReports(first, first)).toMatchObject({ changed: [], options: {} });
});

test("reports of different models are refused", () => {
  const model = { ...first.model, sha256: "ef".repeat(32) };
  expect(() => compareReports(first, { ...second, model })).toThrow(
    /different models: expected the same sha256, got abababababab… .* and efefefefefef…/,
  );
});

describe("quality is compared only where it may be", () => {
  const judge = (change: Partial<QuantizeReport>) =>
    compareReports(first, { ...first, ...change }).quality;

  test("intervals that overlap, and that do not", () => {
    expect(judge({ quality: sampleQuality(0.0005) }).statement).toMatch(
      /^A is closer .* intervals of the KL divergences overlap/,
    );
    expect(judge({ quality: sampleQuality(-0.01) }).statement).toMatch(
      /^B stays closer .* than A: .* do not overlap\.$/,
    );
  });

  test("one window has no interval to go by", () => {
    const one = { ...first, quality: { ...sampleQuality(), windows: 1 } };
    const other = { ...first, quality: { ...sampleQuality(-0.01), windows: 1 } };
    expect(compareReports(one, other).quality.statement).toMatch(
      /^B is closer .* one window has no interval/,
    );
  });

  test("other data, another protocol, another kind", () => {
    const other = { ...first.options, evaluationFingerprint: "99" };
    expect(judge({ options: other })).toMatchObject({ comparable: false });
    expect(judge({ options: other }).statement).toMatch(/measured on different data/);
    const protocol = { ...sampleQuality(), protocol: "windows of 512" };
    expect(judge({ quality: protocol }).statement).toMatch(/the protocols differ/);
    expect(judge({ quality: smallReport().quality }).statement).toMatch(/the other by its outputs/);
    const rows = comparisonRows(compareReports(first, { ...first, options: other }));
    const kl = rows.find(({ name }) => name.startsWith("KL"));
    expect(kl).toMatchObject({ difference: "" });
  });
});

test("rows give both values and the difference", () => {
  const rows = comparisonRows(compareReports(first, second));
  expect(rows.find(({ name }) => name === "perplexity, float")).toEqual({
    name: "perplexity, float",
    a: "13.520 (12.950 to 14.090)",
    b: "13.520 (12.950 to 14.090)",
    difference: "same",
  });
  expect(rows[0]).toMatchObject({ name: "file, bytes", difference: expect.stringMatching(/^\+/) });
});

test("the paired rise of the loss has a difference where it is a rise", () => {
  const riseOf = (from: number, to: number) => {
    const [a, b] = [from, to].map((value): QuantizeReport => {
      const quality = sampleQuality();
      const nllIncrease = { value, low: value - 0.003, high: value + 0.003 };
      return {
        ...first,
        quality: { ...quality, intervals: { ...quality.intervals, nllIncrease } },
      };
    });
    const rows = comparisonRows(compareReports(a, b));
    return rows.find(({ name }) => name === "rise of the loss, paired");
  };
  expect(riseOf(0.02, 0.05)).toMatchObject({
    a: "0.0200 (0.0170 to 0.0230)",
    b: "0.0500 (0.0470 to 0.0530)",
    difference: "+150.0%",
  });
  expect(riseOf(0.001, 0.05)?.difference).toBe("");
});
