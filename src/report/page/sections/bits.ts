/** How many bits each layer got, and how much of the file that is. */
import { linearTicks, plainTick } from "../axes.ts";
import { pathCell, pathColumn } from "../cells.ts";
import { bitsColour } from "../colours.ts";
import { type Depth, middle } from "../depth.ts";
import { depthChart } from "../depth-chart.ts";
import { figure } from "../figure.ts";
import { html, type Markup } from "../html.ts";
import { byteSize, counted, decibel, grouped, percent } from "../numbers.ts";
import type { Chart, Plot } from "../plots.ts";
import type { PageInput, Section } from "../section.ts";

/** What the charts draw of a layer. */
export interface DrawnLayer {
  readonly format: string;
  readonly bits: number;
  readonly bytes: number;
}

export function bitsSection({ report, depth, pen }: PageInput): Section {
  const { layers } = report;
  const widths = countWidths(layers);
  const largest = layers.reduce((most, layer) => (layer.bytes > most.bytes ? layer : most));
  const name = depth.short[layers.indexOf(largest)];
  const say = html`<p>${widthSentence(widths, layers.length)}</p>
<p class="soft">The largest, <code>${name}</code>, takes ${byteSize(largest.bytes)}, ${percent(largest.bytes / report.weightBytes)} of all quantized weights.</p>`;
  const panels = [{ chart: bitsChart(depth, layers) }, { chart: sizeChart(depth, layers) }];
  const show = html`${shareBar(widths, report.weightBytes)}
${figure(pen, {
  panels,
  caption:
    "Every bar is a layer, from the first to the last in the graph. Bits are those of the codes; sizes include scales and zero points.",
  data: {
    caption: "Format and size of every layer",
    columns: [
      pathColumn,
      { title: "operator" },
      { title: "[N, K]", align: "right" },
      { title: "format", kind: "nowrap" },
      { title: "bits", align: "right" },
      { title: "bytes", align: "right" },
      { title: "SQNR", align: "right" },
    ],
    rows: layers.map(({ name, opType, shape, format, bits, bytes, sqnrDb }) => [
      pathCell(name),
      opType,
      `[${shape.join(", ")}]`,
      format,
      bits,
      { show: grouped(bytes), order: bytes },
      { show: decibel(sqnrDb), order: sqnrDb ?? 1e9 },
    ]),
    sortable: true,
    hideCaption: true,
  },
})}`;
  return { id: "bits", title: "Bits along the depth", say, show };
}

interface WidthCount {
  readonly bits: number;
  readonly layers: number;
  readonly bytes: number;
}

function countWidths(layers: readonly DrawnLayer[]): WidthCount[] {
  const widths = [...new Set(layers.map(({ bits }) => bits))].sort((a, b) => a - b);
  return widths.map((bits) => {
    const own = layers.filter((layer) => layer.bits === bits);
    return { bits, layers: own.length, bytes: own.reduce((sum, { bytes }) => sum + bytes, 0) };
  });
}

function widthSentence(widths: readonly WidthCount[], total: number): string {
  if (total === 1) return `The only layer has ${counted(widths[0].bits, "bit")}.`;
  if (widths.length === 1) return `All ${grouped(total)} layers have ${widths[0].bits} bits.`;
  const most = widths.reduce((a, b) => (b.layers > a.layers ? b : a));
  const [least, last] = [widths[0].bits, widths[widths.length - 1].bits];
  return `${grouped(total)} layers have from ${least} to ${last} bits; ${most.layers === 1 ? "one has" : `${grouped(most.layers)} have`} ${most.bits}.`;
}

/** Where the bytes went, one stretch per width. */
function shareBar(widths: readonly WidthCount[], total: number): Markup {
  const stretches = widths.map(
    ({ bits, bytes }) => html`<i style="flex:${bytes} 0 0;background:${bitsColour(bits)}"></i>`,
  );
  const entries = widths.map(
    ({ bits, layers, bytes }) =>
      html`<li><span><span class="chip" style="background:${bitsColour(bits)}"></span>${bits} bits: ${counted(layers, "layer")}, ${percent(bytes / total)} of the bytes</span></li>`,
  );
  return html`<div class="shares" aria-hidden="true">${stretches}</div>
<ul class="legend">${entries}</ul>`;
}

/** Pixels: a bar, not a wall, where there are few layers. */
const widestBar = 64;

/** Bars of a value per layer; numbers on top where they have room. */
function bars(
  plot: Plot,
  room: number,
  depth: Depth,
  layers: readonly DrawnLayer[],
  measure: (layer: DrawnLayer) => number,
) {
  const half = Math.min(0.5 - Math.min(0.075, 0.5 / room), widestBar / 2 / room);
  return plot.rect(layers, {
    x1: (_: DrawnLayer, at: number) => middle(at) - half,
    x2: (_: DrawnLayer, at: number) => middle(at) + half,
    y1: 0,
    y2: measure,
    fill: ({ bits }: DrawnLayer) => bitsColour(bits),
    title: ({ format, bytes }: DrawnLayer, at: number) =>
      `${depth.names[at]}\n${format}, ${grouped(bytes)} bytes`,
  });
}

/** @param most - largest value of the scale. */
export function bitsChart(
  depth: Depth,
  layers: readonly DrawnLayer[],
  most = Math.max(...layers.map(({ bits }) => bits)),
): Chart {
  const digits = most > 8 ? 2 : 1;
  return depthChart(depth, {
    label: `Bar chart: bits per weight of ${counted(layers.length, "layer")} in the order of the graph.`,
    height: 180,
    y: { domain: [0, most * 1.12] },
    values: {
      ticks: linearTicks(most).filter(Number.isInteger),
      show: String,
      label: "bits per code",
    },
    marks: (plot, room) => [
      bars(plot, room, depth, layers, ({ bits }) => bits),
      room >= 8 * digits
        ? plot.text(layers, {
            x: (_: DrawnLayer, at: number) => middle(at),
            y: "bits",
            text: ({ bits }: DrawnLayer) => String(bits),
            dy: -8,
            fontSize: Math.min(12, room + 2),
          })
        : null,
    ],
  });
}

export function sizeChart(depth: Depth, layers: readonly DrawnLayer[]): Chart {
  const most = Math.max(...layers.map(({ bytes }) => bytes));
  const [unit, name] = most >= 1e6 ? [1e6, "MB"] : [1e3, "kB"];
  return depthChart(depth, {
    label: `Bar chart: stored bytes of ${counted(layers.length, "layer")}; the largest has ${byteSize(most)}.`,
    height: 150,
    y: { domain: [0, most * 1.04] },
    values: {
      ticks: linearTicks(most / unit, 3).map((tick) => tick * unit),
      show: (value) => plainTick(value / unit),
      label: `size, ${name}`,
    },
    marks: (plot, room) => bars(plot, room, depth, layers, ({ bytes }) => bytes),
  });
}
