/** Why each layer got its bits: prices of its steps against the price of a byte at the budget. */
import type { QuantizeReport, ReportedLayer } from "../../document.ts";
import { logTicks, plainTick } from "../axes.ts";
import { formatCell, layerCell, layerColumn } from "../cells.ts";
import { type Depth, middle } from "../depth.ts";
import { depthChart } from "../depth-chart.ts";
import { figure, type LegendEntry } from "../figure.ts";
import { html } from "../html.ts";
import { counted, decibel, grouped, significant, times } from "../numbers.ts";
import type { Chart } from "../plots.ts";
import { reasonOf } from "../reasons.ts";
import type { PageInput, Section } from "../section.ts";
import { type DataTable, dataTable, detailsTable } from "../table.ts";

/** More rows than this are behind a line to open them. */
const openRows = 60;

export function reasonsSection({ report, depth, pen }: PageInput): Section {
  const { decision, scoreUnit, layers } = report;
  const price = decision?.marginalPrice ?? 0;
  const table = reasonTable(report, depth);
  const words =
    layers.length > openRows
      ? detailsTable(`Why each of the ${grouped(layers.length)} layers has its format`, {
          ...table,
          hideCaption: true,
        })
      : dataTable(table);
  const say = decision
    ? html`<p>${priceSentence(price, scoreUnit, report)}</p>
<p class="soft">The loss is what the scorer <code>${String(report.options.scorer)}</code> predicts, in ${scoreUnit}.</p>`
    : html`<p>A saved plan named every layer's format, so there were no prices to weigh.</p>`;
  const show =
    decision && price > 0
      ? figure(pen, {
          legend,
          panels: [{ chart: priceChart(layers, depth, price) }],
          caption:
            "Where an open triangle is below the line and the filled one above it, the layer has the bits that pay. Prices beyond the chart lie on its edge.",
        })
      : null;
  return { id: "reasons", title: "Why each layer got its bits", say, show, below: words };
}

function priceSentence(price: number, unit: string, { gate, options }: QuantizeReport): string {
  if (price <= 0) return "The budget is above every step that pays, so bytes had no price.";
  const worth = `At this budget a kilobyte is worth ${significant(1000 * price)} ${unit}: the going price.`;
  if (gate?.written === "uniform") {
    return `${worth} The gate preferred one format for all layers, so prices did not decide.`;
  }
  if (options.allocator !== "knapsack") {
    return `${worth} The allocator ${String(options.allocator)} does not go by prices; they show what it gave up.`;
  }
  return `${worth} A layer goes up while that saves more per byte, and down while that costs less.`;
}

const legend: readonly LegendEntry[] = [
  { mark: "up", colour: "var(--third)", text: "saved per byte by the next better format" },
  { mark: "down", colour: "var(--other)", text: "lost per byte by the next smaller format" },
  { mark: "rule", colour: "var(--ink)", text: "the going price" },
];

/** Prices further from the going price than this are drawn at the edge. */
const farthest = 300;

interface Priced {
  readonly at: number;
  readonly up: number | null;
  readonly down: number | null;
}

function priceChart(layers: readonly ReportedLayer[], depth: Depth, price: number): Chart {
  const within = (ratio: number) => Math.min(farthest, Math.max(1 / farthest, ratio));
  const priced = layers.map(
    ({ nextUpgrade, lastDowngrade }, at): Priced => ({
      at: middle(at),
      up: nextUpgrade && within(nextUpgrade.lossPerByte / price),
      down: lastDowngrade && within(lastDowngrade.lossPerByte / price),
    }),
  );
  const all = priced.flatMap(({ up, down }) => [up, down]).filter((value) => value !== null);
  const reach = Math.max(4, ...all, ...all.map((value) => 1 / value)) * 1.25;
  const both = priced.filter(({ up, down }) => up !== null && down !== null);
  const domain: [number, number] = [1 / reach, reach];
  const title = ({ at }: Priced) => {
    const { format, nextUpgrade, lastDowngrade } = layers[at - 0.5];
    const line = (word: string, step: ReportedLayer["nextUpgrade"]) =>
      step ? `\n${word} ${step.format}: ${times(step.lossPerByte / price)} of the price` : "";
    return `${depth.names[at - 0.5]}\n${format}${line("up to", nextUpgrade)}${line("down to", lastDowngrade)}`;
  };
  return depthChart(depth, {
    label: `Dot chart: prices of the next better and the next smaller format of ${counted(layers.length, "layer")}, relative to the going price, logarithmic.`,
    height: 250,
    y: { type: "log", domain },
    values: {
      ticks: logTicks(domain, 5),
      show: plainTick,
      label: "price, relative to the going price",
    },
    marks(plot, room) {
      const triangle = {
        x: "at",
        symbol: "triangle",
        r: Math.min(4.5, Math.max(1.6, room / 3)),
        title,
      } as const;
      return [
        plot.ruleY([1], { stroke: "currentColor" }),
        plot.link(both, {
          x: "at",
          y1: "up",
          y2: "down",
          stroke: "var(--edge)",
          strokeOpacity: 0.6,
        }),
        plot.dot(
          priced.filter(({ down }) => down !== null),
          { ...triangle, y: "down", rotate: 180, fill: "var(--other)" },
        ),
        plot.dot(
          priced.filter(({ up }) => up !== null),
          { ...triangle, y: "up", fill: "var(--paper)", stroke: "var(--third)" },
        ),
      ];
    },
  });
}

function reasonTable(report: QuantizeReport, depth: Depth): DataTable {
  return {
    caption: "Why each layer has its format",
    columns: [
      layerColumn,
      { title: "format", kind: "nowrap" },
      { title: "why", kind: "words" },
      { title: "bytes", align: "right" },
      { title: "loss", align: "right" },
      { title: "SQNR", align: "right" },
    ],
    rows: report.layers.map((layer, at) => [
      layerCell(depth, at),
      formatCell(layer),
      reasonOf(layer, report),
      { show: grouped(layer.bytes), order: layer.bytes },
      { show: significant(layer.loss), order: layer.loss },
      { show: decibel(layer.sqnrDb), order: layer.sqnrDb ?? 1e9 },
    ]),
    sortable: true,
  };
}
