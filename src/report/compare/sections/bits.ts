/** The bits of every layer in both runs, and what changed between them. */
import type { QuantizeReport } from "../../document.ts";
import { formatCell, layerColumn } from "../../page/cells.ts";
import { figure } from "../../page/figure.ts";
import { html, type Markup } from "../../page/html.ts";
import { counted, decibel, grouped, significant } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { bitsChart } from "../../page/sections/bits.ts";
import { type Cell, type DataTable, dataTable, type TableColumn } from "../../page/table.ts";
import type { ChangedLayer, ComparedLayer } from "../comparison.ts";
import type { PairInput } from "../pair.ts";
import { shareScale } from "./frontier.ts";

export function bitsSection(input: PairInput): Section {
  const { a, b, depth, pen, comparison } = input;
  const { changed } = comparison;
  const most = Math.max(...[...a.layers, ...b.layers].map(({ bits }) => bits));
  const panel = (name: string, { layers }: QuantizeReport) => {
    const own = new Map(layers.map((layer) => [layer.name, layer]));
    const drawn = depth.names.map((layer) => own.get(layer) ?? absent);
    return { title: name, chart: bitsChart(depth, drawn, most) };
  };
  return {
    id: "bits",
    title: "Bits along the depth",
    say: changeWords(input),
    show: figure(pen, {
      panels: [panel("A", a), panel("B", b)],
      caption: "Every bar is a layer, in the order of the graph, on the same scale in both.",
    }),
    below: changed.length === 0 ? null : dataTable(changeTable(input)),
  };
}

function changeWords({ a, b, comparison }: PairInput): Markup {
  const { changed, layers } = comparison;
  if (changed.length === 0) {
    return html`<p>All ${counted(layers, "layer")} have the same format in both.</p>`;
  }
  const up = changed.filter(({ a, b }) => (b?.bytes ?? 0) > (a?.bytes ?? 0)).length;
  return html`<p>${counted(changed.length, "layer")} of ${grouped(layers)} changed: ${grouped(up)} take more bytes in B, ${grouped(changed.length - up)} take fewer or as many.</p>${
    shareScale(a, b)
      ? html`
<p class="soft">Losses in the table are what <code>${String(a.options.scorer)}</code> predicts, in ${a.scoreUnit}.</p>`
      : null
  }`;
}

const absent = { format: "not quantized", bits: 0, bytes: 0 };

function changeTable({ a, b, depth, comparison }: PairInput): DataTable {
  const short = new Map(depth.names.map((name, at) => [name, depth.short[at]]));
  const losses = shareScale(a, b) ? lossCells(a, b) : null;
  const sqnr = (layer: ComparedLayer | null): Cell =>
    layer ? { show: decibel(layer.sqnrDb), order: layer.sqnrDb ?? 1e9 } : none;
  return {
    caption: "Layers whose format changed",
    columns: [
      layerColumn,
      { title: "A", kind: "nowrap" },
      { title: "B", kind: "nowrap" },
      { title: "bytes, B − A", align: "right" },
      ...(losses ? perRun("loss") : []),
      ...perRun("SQNR"),
    ],
    rows: comparison.changed.map(({ name, a, b }) => [
      html`<span title="${name}">${short.get(name) ?? name}</span>`,
      a ? formatCell(a) : none,
      b ? formatCell(b) : none,
      byteCell((b?.bytes ?? 0) - (a?.bytes ?? 0)),
      ...(losses?.(name) ?? []),
      sqnr(a),
      sqnr(b),
    ]),
    sortable: true,
  };
}

const none: Cell = { show: "–", order: -1e9 };

const perRun = (title: string): TableColumn[] =>
  ["A", "B"].map((run) => ({ title: `${title}, ${run}`, align: "right" }));

const byteCell = (difference: number): Cell => ({
  show: `${difference > 0 ? "+" : ""}${grouped(difference)}`.replace("-", "−"),
  order: difference,
});

function lossCells(a: QuantizeReport, b: QuantizeReport) {
  const known = [a, b].map(({ layers }) => new Map(layers.map(({ name, loss }) => [name, loss])));
  return (name: ChangedLayer["name"]): Cell[] =>
    known.map((losses) => {
      const loss = losses.get(name);
      return loss === undefined ? none : { show: significant(loss), order: loss };
    });
}
