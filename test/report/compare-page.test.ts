import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { spearman } from "../../src/math/metrics.ts";
import { type QuantizeReport, renderComparison } from "../../src/report/index.ts";
import { appliedReport, sampleReport, secondReport, smallReport } from "./sample.ts";

const first = sampleReport();
const second = secondReport();

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

describe("the page shows of both runs", () => {
  const pageOf = async (a: QuantizeReport, b: QuantizeReport) =>
    parseHTML(await renderComparison(a, b)).document;
  type Page = Awaited<ReturnType<typeof pageOf>>;
  const textOf = (page: Page, selector: string) =>
    (page.querySelector(selector)?.textContent ?? "").replace(/\s+/g, " ").trim();
  const textsOf = (page: Page, selector: string) =>
    [...page.querySelectorAll(selector)].map(({ textContent }) => textContent?.trim());
  const rowsOf = (page: Page, selector: string) =>
    [...page.querySelectorAll(`${selector} tbody tr`)].map(({ children }) =>
      [...children].map(({ textContent }) => textContent?.trim()),
    );
  const sectionsOf = (page: Page) =>
    [...page.querySelectorAll("main > section")].map(({ id }) => id);

  test("every section that their reports have something for", async () => {
    const all = ["result", "bits", "quality", "frontier", "scores", "growth"];
    const last = ["remarks", "effort", "origin"];
    expect(sectionsOf(await pageOf(first, second))).toEqual([...all, ...last]);
    const few = ["result", "bits", "quality", ...last];
    expect(sectionsOf(await pageOf(appliedReport(), appliedReport()))).toEqual(few);
  });

  test("promises, kept or not", async () => {
    const over = { ...appliedReport(), budgetBytes: first.weightBytes - 1000 };
    const page = await pageOf(first, over);
    expect(textsOf(page, "#result h3")).toEqual(["Promises of A", "Promises of B"]);
    expect(textsOf(page, ".promises li")).toEqual([
      expect.stringMatching(/^✓ kept.*Budget 4bpw.*100 left over/),
      expect.stringMatching(/^✓ kept.*0\.0470 against 0\.0890/),
      expect.stringMatching(/^✓ kept.*KL divergence at most 0\.100/),
      expect.stringMatching(/^✗ not kept.*1,000 too many/),
      expect.stringMatching(/^– not made.*saved plan/),
      expect.stringMatching(/^– not made.*No bound/),
    ]);
  });

  test("predicted losses of layers that changed, where they have one scale", async () => {
    const { loss } = first.layers[3];
    const better = second.layers.map((layer) => ({ ...layer, loss: layer.loss / 4 }));
    const page = await pageOf(first, { ...second, layers: better });
    const heads = textsOf(page, "#bits .below thead th");
    expect(heads).toContain("loss, A");
    const [row] = rowsOf(page, "#bits .below");
    const shown = ["loss, A", "loss, B"].map((head) => row[heads.indexOf(head)]);
    expect(shown).toEqual([loss, loss / 4].map((value) => value.toPrecision(3)));
    const other = await pageOf(first, { ...second, scoreUnit: "squared error" });
    expect(textsOf(other, "#bits .below thead th")).not.toContain("loss, A");
    expect(rowsOf(other, "#bits .below")).toHaveLength(1);
  });

  test("frontiers, in one chart for one scorer and in two for two", async () => {
    const charts = (page: Page) => page.querySelectorAll("#frontier .drawing.wide svg").length;
    const together = await pageOf(first, second);
    expect(charts(together)).toBe(1);
    const { decision } = first;
    if (!decision) throw new Error("the sample has no decision");
    const apart = await pageOf(first, {
      ...second,
      options: { ...second.options, scorer: "lim" },
      scoreUnit: "importance",
      decision: { ...decision, written: { bytes: second.weights / 2, loss: 0.123 } },
    });
    expect(charts(apart)).toBe(2);
    expect(textsOf(apart, "#frontier .panel")).toEqual([
      "A, planned with measured-kl (nats per token)",
      "B, planned with lim (importance)",
    ]);
    const written = textsOf(apart, "#frontier .wide title").filter((text) =>
      text?.startsWith("wr"),
    );
    expect(written).toEqual([
      expect.stringMatching(new RegExp(`loss ${decision.written.loss.toPrecision(3)}$`)),
      expect.stringMatching(/ 4\.000 bits per weight, loss 0\.123$/),
    ]);
    expect(textOf(apart, "#frontier figcaption")).toMatch(
      /B at 4\.000 bits per weight and 0\.123\.$/,
    );
    expect(sectionsOf(await pageOf(first, appliedReport()))).not.toContain("frontier");
  });

  test("where the deciding scorers put the layers", async () => {
    const count = first.layers.length;
    const own = first.layers.map((_, at) => ((at * 5) % count) + 1);
    const others = first.layers.map((_, at) => (at === 2 ? null : ((at * 3) % count) + 1));
    const scored = (report: QuantizeReport, name: string, losses: (number | null)[]) => ({
      ...report,
      scores: {
        format: `int3-${name}`,
        scorers: [{ name, unit: "units", losses, rankCorrelation: 1 }],
      },
    });
    const page = await pageOf(scored(first, "one", own), scored(second, "two", others));
    const known = others.flatMap((loss, at) => (loss === null ? [] : [at]));
    const expected = spearman(
      Float64Array.from(known, (at) => own[at]),
      Float64Array.from(known, (at) => others[at] ?? 0),
    );
    const correlation = expected.toFixed(2).replace("-", "−");
    expect(textOf(page, "#scores .say")).toContain(
      `of ${count - 1} layers by one of A and two of B`,
    );
    expect(textOf(page, "#scores .say")).toContain(`rank correlation of ${correlation}`);
    expect(textOf(page, "#scores .say")).toContain("in int3-one, B in int3-two");
    expect(textOf(page, "#scores .wide svg")).toContain(`B: two, rank correlation ${correlation}`);
    expect(page.querySelectorAll("#scores .wide svg rect")).toHaveLength(2 * count - 1);
    const places = rowsOf(page, "#scores");
    expect(places).toHaveLength(count);
    expect(places.map(([, place]) => Number.parseInt(place ?? "", 10))).toEqual(
      own.map((loss) => count + 1 - loss),
    );
    const placeOf = (loss: number) => Number.parseInt(places[others.indexOf(loss)][2] ?? "", 10);
    expect([placeOf(count), placeOf(1)]).toEqual([1, known.length]);
    expect(places[2][2]).toBe("–");
    expect(sectionsOf(await pageOf(first, { ...second, scores: null }))).not.toContain("scores");
  });

  test("the growth of the error, every curve of either", async () => {
    const { errorGrowth } = first;
    const layers = errorGrowth?.layers.map((one) => ({
      ...one,
      sequential: one.sequential && 2 * one.sequential,
    }));
    const worse = { ...second, errorGrowth: { samples: 8, layers: layers ?? [] } };
    const page = await pageOf(first, worse);
    const names = ["A, layer after layer", "A, one by one"];
    const more = ["B, layer after layer", "B, one by one"];
    expect(textsOf(page, "#growth .legend li")).toEqual([...names, ...more]);
    expect(page.querySelectorAll("#growth .wide circle")).toHaveLength(
      4 * (first.layers.length - 1),
    );
    const rows = rowsOf(page, "#growth");
    expect(rows[0].slice(1)).toEqual(["–", "–", "–", "–"]);
    const share = 0.1 * 1.2 ** (1 / 3);
    const shown = [share, 1.3 * share, 2 * share, 1.3 * share];
    expect(rows[1].slice(1)).toEqual(shown.map((value) => `${value.toFixed(2)}%`));
    expect(textOf(page, "#growth .say")).toMatch(/0\.25% is error in A and 0\.50% in B/);
    expect(textOf(page, "#growth figcaption")).toMatch(/8 samples .*: the same ones for both\.$/);
    const reseeded = { ...worse, options: { ...worse.options, seed: 1 } };
    expect(textOf(await pageOf(first, reseeded), "#growth figcaption")).toMatch(/not the same/);

    const alone = { propagation: null, errorGrowth: null };
    const half = await pageOf({ ...first, ...alone }, worse);
    expect(textsOf(half, "#growth .legend li")).toEqual(more);
    expect(textOf(half, "#growth .say")).toMatch(/A: Every layer was rounded by itself/);
    const drifts = await pageOf(first, { ...second, errorGrowth: null });
    expect(textsOf(drifts, "#growth .legend li")).toEqual([...names, more[0]]);
    const neither = await pageOf({ ...first, ...alone }, { ...second, ...alone });
    expect(sectionsOf(neither)).not.toContain("growth");
  });

  test("notices and skipped nodes, of one and of both", async () => {
    const [own, shared, common] = first.notices;
    const news = { code: "new", message: "Something else came up." };
    const b = { ...second, notices: [shared, common, news], skipped: first.skipped.slice(1) };
    const page = await pageOf(first, b);
    expect(textOf(page, "#remarks .say")).toMatch(
      /Notices: 2 in both, 1 in A only, 1 in B only\. .*: 1 in both, 1 in A only\.$/,
    );
    expect(textsOf(page, "#remarks h3")).toEqual([
      ...["Notices in A only", "Notices in B only", "Notices in both"],
      ...["Left in float in A only", "Left in float in both"],
    ]);
    const lists = [...page.querySelectorAll("#remarks .list")].map((list) =>
      [...list.children].map(({ textContent }) => textContent?.trim()),
    );
    expect(lists).toEqual([[own.message], [news.message], [shared.message, common.message]]);
    expect(rowsOf(page, "#remarks").map((row) => row.join("; "))).toEqual([
      "MatMul; 1; both operands are computed at run time",
      "/attn/MatMul; MatMul; both operands are computed at run time",
      "MatMul; 1; table … is computed at run time",
      '/attn/MatMul_1; MatMul; table "x" is computed at run time',
    ]);
    const quiet = { notices: [], skipped: [] };
    const calm = await pageOf({ ...first, ...quiet }, { ...second, ...quiet });
    expect(textsOf(calm, "#remarks h3, #remarks li, #remarks table")).toEqual([]);
  });

  test("time and memory, stage by stage in the order of the run", async () => {
    const timings = { open: 60, data: 900, calibrate: 3100, gate: 2500, save: 5, sign: 400 };
    const environment = { ...first.environment, peakMemoryBytes: 6e8, threads: 4 };
    const page = await pageOf(first, { ...second, timings, environment });
    expect(rowsOf(page, "#effort").map((row) => row.slice(0, 3))).toEqual([
      ["open", "70 ms", "60 ms"],
      ["data", "–", "900 ms"],
      ["calibrate", "3.0 s", "3.1 s"],
      ["score", "20.0 s", "–"],
      ["gate", "2.5 s", "2.5 s"],
      ["sign", "–", "400 ms"],
      ["propagate", "5.0 s", "–"],
      ["total", "30.6 s", "7.0 s"],
      ["memory at most", "800.0 MB", "600.0 MB"],
    ]);
    expect(textOf(page, "#effort .say")).toMatch(/with 2 threads.*with 4 threads/);
    const same = textOf(await pageOf(first, second), "#effort .say");
    expect(same).toMatch(/Both ran on linux-x64 with 2 threads/);
  });

  test("options, apart from those that a report does not record", async () => {
    const options = { ...first.options, budget: "4.2bpw", correction: "none", window: 256 };
    const page = await pageOf(
      { ...first, options: { ...first.options, window: null } },
      { ...second, options },
    );
    expect(rowsOf(page, "#origin")).toEqual([
      ["budget", "4bpw", "4.2bpw"],
      ["window", "not given", "256"],
      ["correction", "–", "none"],
    ]);
    expect(textOf(page, "#origin .say")).toMatch(/3 options differ\. A dash stands for/);
    expect(textOf(await pageOf(first, second), "#origin .say")).not.toContain("dash");
  });
});
