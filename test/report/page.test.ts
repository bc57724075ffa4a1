import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { renderReport } from "../../src/report/index.ts";
import { significant } from "../../src/report/page/numbers.ts";
import { reasonOf } from "../../src/report/page/reasons.ts";
import { appliedReport, sampleQuality, sampleReport, smallReport } from "./sample.ts";

const pageOf = async (...args: Parameters<typeof renderReport>) => {
  const text = await renderReport(...args);
  return { text, document: parseHTML(text).document };
};

const long = (block: number, role: string) =>
  `/a/transformer/with/long/names/layers.${block}/block_of_the_decoder/${role}/linear/MatMul`;

const reports = {
  "a language model": sampleReport(),
  "300 layers with long names": sampleReport({ blocks: 60, nameOf: long }),
  "one layer, measured by outputs": smallReport(),
  "an applied plan": appliedReport(),
};

describe.each(Object.entries(reports))("the page of %s", (_, report) => {
  test("loads nothing from anywhere, and is the same each time", async () => {
    const { text, document } = await pageOf(report);
    expect(await renderReport(report)).toBe(text);
    expect(/(src|href)="(?!#)|url\(|@import/.exec(text)).toBeNull();
    expect([...document.querySelectorAll("link, img, iframe, script[src]")]).toEqual([]);
    const policy = document.querySelector("meta[http-equiv]")?.getAttribute("content");
    expect(policy).toMatch(/^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-/);
    const read = text.replace(/<script>[\s\S]*<\/script>/, "");
    const wrong = ["undefined", "NaN", "Infinity", "[object"].filter((word) => read.includes(word));
    expect(wrong).toEqual([]);
  });

  test("can be walked through without seeing it", async () => {
    const { document } = await pageOf(report);
    expect(document.documentElement?.getAttribute("lang")).toBe("en");
    expect(document.querySelectorAll("main, h1")).toHaveLength(2);
    const levels = [...document.querySelectorAll("h1, h2, h3")].map(({ tagName }) =>
      Number(tagName.slice(1)),
    );
    for (const [at, level] of levels.entries()) {
      expect(level - (levels[at - 1] ?? 0)).toBeLessThanOrEqual(1);
    }
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const link of document.querySelectorAll("a[href]")) {
      expect(ids).toContain(link.getAttribute("href")?.slice(1));
    }
    for (const section of document.querySelectorAll("section")) {
      expect(ids).toContain(section.getAttribute("aria-labelledby"));
    }
    for (const svg of document.querySelectorAll("svg.chart")) {
      expect(svg.getAttribute("role")).toBe("img");
      expect(svg.getAttribute("aria-label")?.length).toBeGreaterThan(20);
      expect(svg.getAttribute("xmlns")).toBe("http://www.w3.org/2000/svg");
    }
    for (const { tagName, attributes } of document.querySelectorAll("[aria-label], [tabindex]")) {
      const names = [...attributes].map(({ name }) => name);
      if (tagName !== "NAV") expect(names, tagName).toContain("role");
    }
    for (const table of document.querySelectorAll("table")) {
      expect(table.querySelector("caption")?.textContent?.trim()).not.toBe("");
      for (const cell of table.querySelectorAll("th")) {
        expect(cell.getAttribute("scope")).toMatch(/^(col|row)$/);
      }
      const widths = [...table.querySelectorAll("tr")].map(({ children }) => children.length);
      expect(new Set(widths).size).toBe(1);
    }
  });

  test("says of every layer what it got", async () => {
    const { document } = await pageOf(report);
    const rows = [...document.querySelectorAll("#reasons tbody tr")];
    expect(rows).toHaveLength(report.layers.length);
    const whole = [...document.querySelectorAll("#bits tbody th")];
    expect(whole.map(({ textContent }) => textContent)).toEqual(
      report.layers.map(({ name }) => name),
    );
    for (const [at, { name, format }] of report.layers.entries()) {
      expect(rows[at].querySelector("th span")?.getAttribute("title")).toBe(name);
      expect(rows[at].textContent).toContain(format);
    }
  });
});

test("a language model's page has every section, others leave out what was not measured", async () => {
  const sectionsOf = async (report: ReturnType<typeof sampleReport>) => {
    const { document } = await pageOf(report);
    return [...document.querySelectorAll("main > section")].map(({ id }) => id);
  };
  const [result, bits, quality, reasons] = ["result", "bits", "quality", "reasons"];
  const [outliers, remarks, effort, origin] = ["outliers", "remarks", "effort", "origin"];
  const last = [outliers, remarks, effort, origin];
  expect(await sectionsOf(sampleReport())).toEqual([
    result,
    bits,
    quality,
    reasons,
    "frontier",
    "scores",
    "growth",
    ...last,
  ]);
  expect(await sectionsOf(appliedReport())).toEqual([result, bits, quality, reasons, ...last]);
});

test("every score can be read without pointing at it, beside its rank and with its unit", async () => {
  const units = ["nats per token", "squared error", "squared error"];
  const { scores } = sampleReport();
  const scorers = (scores?.scorers ?? []).map((one, at) => ({ ...one, unit: units[at] }));
  const report = sampleReport({ change: { scores: { format: "int3-b32", scorers } } });
  const { document } = await pageOf(report);
  const rows = [...document.querySelectorAll("#scores tbody tr")];
  expect([scorers.length, rows.length]).toEqual([3, report.layers.length]);
  for (const [at, row] of rows.entries()) {
    const cells = [...row.querySelectorAll("td")].map(({ textContent }) => textContent);
    for (const [column, { losses }] of scorers.entries()) {
      const loss = losses[at];
      expect(cells[column]).toMatch(loss === null ? /^–$/ : /^\d+ \(/);
      if (loss !== null) expect(cells[column]).toContain(`(${significant(loss)})`);
    }
  }
  const caption = document.querySelector("#scores figcaption")?.textContent;
  expect(caption).toContain(
    "in nats per token by measured-kl, in squared error by weight-error and output-error",
  );
});

test("names from a model cannot become markup", async () => {
  const evil = `"><script>alert(1)</script><b a='`;
  const report = sampleReport({
    blocks: 1,
    nameOf: (block, role) => `/${evil}/${block}/${role}`,
    change: { notices: [{ code: "x", message: evil }], commandLine: evil },
  });
  const { text, document } = await pageOf(report);
  expect(document.querySelectorAll("script")).toHaveLength(1);
  expect(text).not.toContain("<script>alert");
  expect(text).not.toContain("<b a=");
});

test("promises are those of the report", async () => {
  const promisesOf = async (report: ReturnType<typeof sampleReport>) => {
    const { document } = await pageOf(report);
    return [...document.querySelectorAll(".promises li")].map(({ textContent }) => textContent);
  };
  const kept = await promisesOf(sampleReport());
  expect(kept).toEqual([
    expect.stringMatching(/^✓ kept.*Budget 4bpw.*100 left over/),
    expect.stringMatching(/^✓ kept.*Never worse than uniform bits: 0\.0470 against 0\.0890/),
    expect.stringMatching(/^✓ kept.*KL divergence at most 0\.100.*it is 0\.0352/),
  ]);
  const over = await promisesOf({ ...appliedReport(), budgetBytes: 1000 });
  expect(over).toEqual([
    expect.stringMatching(/^✗ not kept.*too many/),
    expect.stringMatching(/^– not made.*saved plan/),
    expect.stringMatching(/^– not made.*No bound/),
  ]);
});

describe("why a layer has its format", () => {
  const report = sampleReport();
  const [, some] = report.layers;
  const priced = (up: number, down: number, change = {}) =>
    reasonOf(
      {
        ...some,
        nextUpgrade: { format: "int4-b32", lossPerByte: up * 4e-7 },
        lastDowngrade: { format: "int2-b32", lossPerByte: down * 4e-7 },
      },
      { ...report, ...change },
    );

  test("prices against the going price, and a remark where a step that pays was not taken", () => {
    expect(priced(0.6, 3)).toBe("int4-b32 would save 0.60× the price; int2-b32 would cost 3.0×.");
    expect(priced(1.2, 3)).toMatch(/Worth it, but it did not fit with the others\.$/);
    expect(priced(0.5, 0.8)).toMatch(/Cheap, but nothing better fits the freed bytes\.$/);
    expect(priced(0, -1)).toBe(
      "int4-b32 is predicted to be no better; int2-b32 is predicted to be no worse.",
    );
  });

  test("what decided instead of prices", () => {
    const uniform = { ...report.gate, written: "uniform" };
    expect(priced(1.2, 3, { gate: uniform })).toMatch(
      /^One format for all layers: [^.]*\.20× [^.]*\.0×\.$/,
    );
    expect(priced(1.2, 3, { options: { allocator: "ranked" } })).not.toMatch(/Worth it/);
    expect(priced(1, 1, { decision: null })).toBe("The saved plan says so.");
    const pinned = { ...some, nextUpgrade: null, lastDowngrade: null };
    expect(reasonOf(pinned, report)).toBe("No other format was on offer.");
  });
});

test("one window is said to prove nothing, several what their interval allows", async () => {
  const said = async (windows: number) => {
    const report = sampleReport({ change: { quality: { ...sampleQuality(), windows } } });
    const { document } = await pageOf(report);
    return document.querySelector("#quality .say")?.textContent ?? "";
  };
  expect(await said(1)).toMatch(/On the only window the loss rises by .*one window cannot say/);
  expect(await said(8)).toMatch(/Window by window .*, from .* to .*: so it is no accident/);
});
