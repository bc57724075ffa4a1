import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import {
  compareReports,
  comparisonRows,
  type QuantizeReport,
  readReport,
  renderComparison,
} from "../../src/report/index.ts";
import { sampleQuality, sampleReport, smallReport } from "./sample.ts";

const first = sampleReport();
const second: QuantizeReport = {
  ...first,
  output: { ...first.output, path: "other.onnx", bytes: first.output.bytes + 2048 },
  weightBytes: first.weightBytes + 2048,
  options: { ...first.options, budget: "4.2bpw" },
  layers: first.layers.map((layer, at) =>
    at === 3 ? { ...layer, format: "int8-b32", bits: 8, bytes: layer.bytes + 2048 } : layer,
  ),
};

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

test.each([
  ["two language models", first, second],
  ["the same run twice", first, first],
  ["models measured by outputs", smallReport(), smallReport()],
])("the page of %s stands alone", async (_, a, b) => {
  const text = await renderComparison(a, b);
  expect(await renderComparison(a, b)).toBe(text);
  const read = text.replace(/<script>[\s\S]*<\/script>/, "");
  expect(/(src|href)="(?!#)|url\(|@import|undefined|NaN/.exec(read)).toBeNull();
  const { document } = parseHTML(text);
  expect(document.querySelectorAll("h1")).toHaveLength(1);
  expect(document.querySelectorAll("#bits svg.chart")).toHaveLength(4);
});

describe("what is no report is refused", () => {
  test("another model", () => {
    const model = { ...first.model, sha256: "ef".repeat(32) };
    expect(() => compareReports(first, { ...second, model })).toThrow(
      /different models: expected the same sha256, got abababababab… .* and efefefefefef…/,
    );
  });

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
  ])("%#", (value, message) => {
    const path = "some.json";
    expect(() => readReport(value, path)).toThrow(message);
    expect(() => readReport(value, path)).toThrow(/^Cannot use "some\.json" as a report: /);
  });

  test("a good one comes back as it is", () => {
    expect(readReport(JSON.parse(JSON.stringify(first)), "a.json")).toEqual(first);
  });
});
