/** Two runs beside each other as one HTML page, in the style of the report. */
import type { LanguageQualityReport, QuantizeReport, ReportedLayer } from "../document.ts";
import { formatCell, layerColumn } from "../page/cells.ts";
import { type Depth, depthOf } from "../page/depth.ts";
import { figure } from "../page/figure.ts";
import { html, type Markup } from "../page/html.ts";
import { intervalChart } from "../page/intervals.ts";
import { fileName } from "../page/names.ts";
import {
  byteSize,
  change,
  counted,
  decibel,
  fixed,
  grouped,
  significant,
} from "../page/numbers.ts";
import { pageText } from "../page/page.ts";
import { openPen, type Pen } from "../page/plots.ts";
import type { Section } from "../page/section.ts";
import { bitsChart } from "../page/sections/bits.ts";
import { frontierChart } from "../page/sections/frontier.ts";
import { dataTable, factList } from "../page/table.ts";
import { type ComparedLayer, type Comparison, compareReports, jointNames } from "./comparison.ts";
import { comparisonRows } from "./facts.ts";

/**
 * Writes a comparison as a self-contained page.
 *
 * @throws bad-option - the reports are of different models.
 */
export async function renderComparison(a: QuantizeReport, b: QuantizeReport): Promise<string> {
  const comparison = compareReports(a, b);
  const pen = await openPen();
  const depth = depthOf(jointLayers(a, b));
  const sections = [
    bitsSection(a, b, depth, pen, comparison),
    qualitySection(comparison, pen),
    frontierSection(a, b, pen),
    originSection(a, b, comparison),
  ];
  return pageText({
    title: `${fileName(a.model.path)}: ${fixed(a.bitsPerWeight, 2)} and ${fixed(b.bitsPerWeight, 2)} bits per weight`,
    eyebrow: "Two quantizations of one model",
    lead: leadText(comparison),
    opening: { id: "result", title: "Result", markup: opening(comparison) },
    sections: sections.filter((section) => section !== null),
    foot: `Made by bitloom ${b.bitloom}. Charts by Observable Plot. This page loads nothing from anywhere.`,
  });
}

function leadText({ a, b, changed, layers, quality }: Comparison): string {
  const size =
    a.output.bytes === b.output.bytes
      ? `Both files have ${byteSize(a.output.bytes)}.`
      : `B is ${change(b.output.bytes / a.output.bytes - 1).replace(/^[+−]/, "")} ${b.output.bytes < a.output.bytes ? "smaller" : "larger"} than A.`;
  const formats =
    changed.length === 0
      ? "All layers have the same formats."
      : `${changed.length} of ${counted(layers, "layer")} have another format.`;
  return `${size} ${formats} ${quality.statement}`;
}

function opening(comparison: Comparison): Markup {
  const { a, b } = comparison;
  return html`
<section id="result" aria-labelledby="result-title">
<h2 id="result-title">Result</h2>
<p>A is <code>${a.output.path}</code>, B is <code>${b.output.path}</code>.</p>
${dataTable({
  caption: "Both runs, and B against A; intervals below values hold with 95% confidence",
  columns: [
    { title: "measure" },
    { title: "A", align: "right" },
    { title: "B", align: "right" },
    { title: "B against A", align: "right" },
  ],
  rows: comparisonRows(comparison).map(({ name, a, b, difference }) => [
    name,
    inTwoLines(a),
    inTwoLines(b),
    difference,
  ]),
})}
</section>
`;
}

/** The interval below its value, so that both runs fit a phone. */
function inTwoLines(text: string): Markup {
  const [value, interval] = text.split(" (");
  return html`${value}${interval === undefined ? null : html`<small>${interval.replace(")", "")}</small>`}`;
}

/** One entry per layer of either run. */
function jointLayers(a: QuantizeReport, b: QuantizeReport): ReportedLayer[] {
  const known = new Map([...b.layers, ...a.layers].map((layer) => [layer.name, layer]));
  return jointNames(a, b).flatMap((name) => known.get(name) ?? []);
}

function bitsSection(
  a: QuantizeReport,
  b: QuantizeReport,
  depth: Depth,
  pen: Pen,
  { changed, layers }: Comparison,
): Section {
  const most = Math.max(...[...a.layers, ...b.layers].map(({ bits }) => bits));
  const panel = (name: string, { layers }: QuantizeReport) => {
    const own = new Map(layers.map((layer) => [layer.name, layer]));
    const drawn = depth.names.map((layer) => own.get(layer) ?? absent);
    return { title: name, chart: bitsChart(depth, drawn, most) };
  };
  const short = new Map(depth.names.map((name, at) => [name, depth.short[at]]));
  const format = (layer: ComparedLayer | null) => (layer ? formatCell(layer) : "–");
  const rows = changed.map(({ name, a, b }) => {
    const difference = (b?.bytes ?? 0) - (a?.bytes ?? 0);
    return [
      html`<span title="${name}">${short.get(name) ?? name}</span>`,
      format(a),
      format(b),
      {
        show: `${difference > 0 ? "+" : ""}${grouped(difference)}`.replace("-", "−"),
        order: difference,
      },
      a ? decibel(a.sqnrDb) : "–",
      b ? decibel(b.sqnrDb) : "–",
    ];
  });
  const up = changed.filter(({ a, b }) => (b?.bytes ?? 0) > (a?.bytes ?? 0)).length;
  const say =
    changed.length === 0
      ? html`<p>All ${counted(layers, "layer")} have the same format in both.</p>`
      : html`<p>${counted(changed.length, "layer")} of ${grouped(layers)} changed: ${grouped(up)} take more bytes in B, ${grouped(changed.length - up)} take fewer or as many.</p>`;
  return {
    id: "bits",
    title: "Bits along the depth",
    say,
    show: figure(pen, {
      panels: [panel("A", a), panel("B", b)],
      caption: "Every bar is a layer, in the order of the graph, on the same scale in both.",
    }),
    below:
      changed.length === 0
        ? null
        : dataTable({
            caption: "Layers whose format changed",
            columns: [
              layerColumn,
              { title: "A", kind: "nowrap" },
              { title: "B", kind: "nowrap" },
              { title: "bytes, B − A", align: "right" },
              { title: "SQNR, A", align: "right" },
              { title: "SQNR, B", align: "right" },
            ],
            rows,
            sortable: true,
          }),
  };
}

const absent = { format: "not quantized", bits: 0, bytes: 0 };

function qualitySection({ a, b, quality }: Comparison, pen: Pen): Section | null {
  const [one, other] = [a.quality, b.quality];
  const say = html`<p>${quality.statement}</p>`;
  if (one.kind !== "language" || other.kind !== "language" || !quality.comparable) {
    return one.kind === "outputs" && other.kind === "outputs" && quality.comparable
      ? { id: "quality", title: "Quality", say, show: outputTable(one, other) }
      : {
          id: "quality",
          title: "Quality",
          say,
          show: html`<p class="soft">No chart is drawn, because it would invite the comparison. Measure both files on the same data with <code>quantize evaluate</code>.</p>`,
        };
  }
  const chart = (
    name: string,
    unit: string,
    key: "perplexityQuantized" | "klDivergence",
    show: (value: number) => string,
  ) => {
    const row = (label: string, { intervals }: LanguageQualityReport, colour: string) => ({
      label,
      estimate: intervals[key],
      colour,
      text: show(intervals[key].value),
    });
    const rows = [row("A", one, "var(--plan)"), row("B", other, "var(--other)")];
    const label = `${name}: ${rows.map(({ label, text }) => `${label} ${text}`).join(", ")}.`;
    return { title: name, chart: intervalChart(label, unit, rows) };
  };
  return {
    id: "quality",
    title: "Quality",
    say,
    show: figure(pen, {
      panels: [
        chart("KL divergence", "nats per token, lower is better →", "klDivergence", significant),
        chart("Perplexity", "lower is better →", "perplexityQuantized", (value) => fixed(value, 3)),
      ],
      caption: `Bars are 95% intervals over the same ${counted(one.windows, "window")}. The float model has perplexity ${fixed(one.perplexity.float, 3)}.`,
    }),
  };
}

type Outputs = Extract<Comparison["a"]["quality"], { kind: "outputs" }>;

function outputTable(a: Outputs, b: Outputs): Markup {
  const others = new Map(b.outputs.map((output) => [output.name, output]));
  return dataTable({
    caption: "Outputs against the float model",
    columns: [
      { title: "output", kind: "nowrap" },
      { title: "SQNR, A", align: "right" },
      { title: "SQNR, B", align: "right" },
      { title: "cosine, A", align: "right" },
      { title: "cosine, B", align: "right" },
    ],
    rows: a.outputs.map(({ name, sqnrDb, cosine }) => {
      const other = others.get(name);
      return [
        html`<code>${name}</code>`,
        decibel(sqnrDb),
        other ? decibel(other.sqnrDb) : "–",
        cosine.toFixed(6),
        other ? other.cosine.toFixed(6) : "–",
      ];
    }),
  });
}

function frontierSection(a: QuantizeReport, b: QuantizeReport, pen: Pen): Section | null {
  if (!a.decision || !b.decision) return null;
  const title = "The plans that could have been";
  const same = a.options.scorer === b.options.scorer && a.scoreUnit === b.scoreUnit;
  if (!same) {
    const say = html`<p>The runs were planned by different scorers.</p>`;
    const show = html`<p class="soft">A was planned with <code>${String(a.options.scorer)}</code>, B with <code>${String(b.options.scorer)}</code>: their predicted losses have no common scale, so the curves are not drawn together. Each run's own report has its curve.</p>`;
    return { id: "frontier", title, say, show };
  }
  return {
    id: "frontier",
    title,
    say: html`<p>Losses are predictions of <code>${String(a.options.scorer)}</code>, added up over layers. Where data or options differ, so do the curves.</p>`,
    show: figure(pen, {
      legend: [
        { mark: "line", colour: "var(--plan)", text: "best plans of A" },
        { mark: "dashes", colour: "var(--other)", text: "best plans of B" },
        { mark: "star", colour: "var(--ink)", text: "A as written" },
        { mark: "diamond", colour: "var(--ink)", text: "B as written" },
      ],
      panels: [
        {
          chart: frontierChart([
            { report: a, decision: a.decision },
            { report: b, decision: b.decision },
          ]),
        },
      ],
      caption: `Predicted loss (${a.scoreUnit}) against size. Upright lines are the budgets.`,
    }),
  };
}

function originSection(a: QuantizeReport, b: QuantizeReport, { options }: Comparison): Section {
  const names = Object.keys(options);
  const run = (
    name: string,
    { commandLine, output, bitloom }: QuantizeReport,
  ) => html`<h3>${name}</h3>
${commandLine === null ? null : html`<pre><code>${commandLine}</code></pre>`}
${factList([
  ["Written", `${output.path}, ${grouped(output.bytes)} bytes`],
  ["Its sha256", html`<code>${output.sha256}</code>`],
  ["Made with", `bitloom ${bitloom}`],
])}`;
  const text = (value: unknown) =>
    value === null ? "none" : typeof value === "string" ? value : JSON.stringify(value);
  return {
    id: "origin",
    title: "Provenance",
    say:
      names.length === 0
        ? html`<p>Both runs had the same options.</p>`
        : html`<p>${counted(names.length, "option")} ${names.length === 1 ? "differs" : "differ"}.</p>`,
    show: html`${
      names.length === 0
        ? null
        : dataTable({
            caption: "Options that differ",
            columns: [
              { title: "option", kind: "nowrap" },
              { title: "A", kind: "words" },
              { title: "B", kind: "words" },
            ],
            rows: names.map((name) => [name, text(options[name].a), text(options[name].b)]),
          })
    }${run("A", a)}${run("B", b)}`,
  };
}
