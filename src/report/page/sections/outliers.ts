/** How uneven the numbers are that share a scale: what stands out costs the rest its digits. */
import type { OutlierReport, ReportedLayer } from "../../document.ts";
import { logDomain, logTicks, plainTick } from "../axes.ts";
import { layerCell, layerColumn, valueCell } from "../cells.ts";
import { type Depth, middle } from "../depth.ts";
import { depthChart } from "../depth-chart.ts";
import { figure, type LegendEntry } from "../figure.ts";
import { html } from "../html.ts";
import { counted, fixed, percent } from "../numbers.ts";
import type { Chart } from "../plots.ts";
import type { PageInput, Section } from "../section.ts";

type Peak = Exclude<keyof OutlierReport, "weightShare">;

interface PeakSeries {
  readonly key: Peak;
  readonly name: string;
  readonly colour: string;
  readonly mark: "square" | "dot" | "up";
}

const allSeries: readonly PeakSeries[] = [
  { key: "inputPeak", name: "largest input", colour: "var(--other)", mark: "up" },
  { key: "channelPeak", name: "strongest input channel", colour: "var(--plan)", mark: "dot" },
  { key: "weightPeak", name: "largest weight", colour: "var(--third)", mark: "square" },
];

export function outliersSection({ report, depth, pen }: PageInput): Section | null {
  const { layers } = report;
  const series = allSeries.filter(({ key }) =>
    layers.some(({ outliers }) => outliers[key] !== null),
  );
  if (series.length === 0) return null;
  const say = html`<p>${strongest(layers, depth)}</p>
<p class="soft">A block of weights shares one scale, and a matrix sees all channels of its input. Where a few numbers are much larger than the rest, the rest keeps fewer digits.</p>`;
  const show = figure(pen, {
    legend: series.map(({ mark, colour, name }): LegendEntry => ({ mark, colour, text: name })),
    panels: [{ chart: peakChart(layers, depth, series) }],
    caption: `Each as a multiple of the root mean square of all: weights of the layer, channels of its input. 1 is perfectly even.${
      series.length < allSeries.length ? " What this run did not measure is not drawn." : ""
    }`,
    data: {
      caption: "Outliers of every layer",
      columns: [
        layerColumn,
        ...series.map(({ name }) => ({ title: name, align: "right" }) as const),
        { title: "weights beyond one deviation", align: "right" },
      ],
      rows: layers.map(({ outliers }, at) => [
        layerCell(depth, at),
        ...series.map(({ key }) => valueCell(outliers[key], (value) => fixed(value, 1))),
        { show: percent(outliers.weightShare), order: outliers.weightShare },
      ]),
      sortable: true,
      hideCaption: true,
    },
  });
  return { id: "outliers", title: "Outliers", say, show };
}

function strongest(layers: readonly ReportedLayer[], { short }: Depth) {
  const best = (key: Peak) =>
    layers.reduce<{ at: number; value: number } | undefined>((most, { outliers }, at) => {
      const value = outliers[key];
      return value !== null && (!most || value > most.value) ? { at, value } : most;
    }, undefined);
  const [channel, weight] = [best("channelPeak"), best("weightPeak")];
  return html`${
    channel
      ? html`The most uneven input reaches <code>${short[channel.at]}</code>: its strongest channel is ${fixed(channel.value, 1)} times as strong as the average. `
      : null
  }${
    weight
      ? html`The largest weight of <code>${short[weight.at]}</code> is ${fixed(weight.value, 1)} times the root mean square of its weights.`
      : null
  }`;
}

function peakChart(
  layers: readonly ReportedLayer[],
  depth: Depth,
  series: readonly PeakSeries[],
): Chart {
  const values = layers.flatMap(({ outliers }) => series.flatMap(({ key }) => outliers[key] ?? []));
  const domain = logDomain([...values, 1]);
  const symbols = { square: "square", dot: "circle", up: "triangle" } as const;
  return depthChart(depth, {
    label: `Dot chart: outliers of weights and inputs of ${counted(layers.length, "layer")}, logarithmic.`,
    height: 240,
    y: { type: "log", domain },
    values: {
      ticks: logTicks(domain, 5),
      show: (value) => `${plainTick(value)}×`,
      label: "times the root mean square",
    },
    marks: (plot, room) =>
      series.map(({ key, name, colour, mark }) => {
        const points = layers.flatMap(({ outliers }, at) => {
          const value = outliers[key];
          return value === null || value <= 0 ? [] : [{ at, value }];
        });
        type Point = (typeof points)[number];
        return plot.dot(points, {
          x: ({ at }: Point) => middle(at),
          y: "value",
          symbol: symbols[mark],
          r: Math.min(4, Math.max(1.5, room / 3.5)),
          ...(mark === "up"
            ? { fill: "var(--paper)", stroke: colour, strokeWidth: 1.5 }
            : { fill: colour }),
          title: ({ at, value }: Point) => `${depth.names[at]}\n${name}: ${fixed(value, 1)}×`,
        });
      }),
  });
}
