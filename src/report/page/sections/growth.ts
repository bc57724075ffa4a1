/** How the error grows on its way through the network, layer after layer and one by one. */
import type { ErrorGrowthReport, PropagationReport, QuantizeReport } from "../../document.ts";
import { logDomain, logTicks, plainTick } from "../axes.ts";
import { layerCell, layerColumn, valueCell } from "../cells.ts";
import { type Depth, middle } from "../depth.ts";
import { depthChart } from "../depth-chart.ts";
import { figure, type LegendEntry } from "../figure.ts";
import { html } from "../html.ts";
import { counted, fixed, percent, significant } from "../numbers.ts";
import type { Chart } from "../plots.ts";
import type { PageInput, Section } from "../section.ts";

interface Series {
  readonly name: string;
  readonly colour: string;
  readonly isDashed: boolean;
  /** Share of the energy of each layer's input that is error; null where that is not measured. */
  readonly shares: readonly (number | null)[];
}

export function growthSection({ report, depth, pen }: PageInput): Section | null {
  const { propagation, errorGrowth } = report;
  if (!propagation) return null;
  const series = seriesOf(propagation, errorGrowth, depth);
  const values = series.flatMap(({ shares }) =>
    shares.filter((share) => share !== null && share > 0),
  );
  const say = html`<p>${resultSentence(propagation, report)}</p>
<p class="soft">${howSentence(propagation)}</p>`;
  const show = html`${
    values.length > 1
      ? figure(pen, {
          legend: series.map(
            ({ name, colour, isDashed }): LegendEntry => ({
              mark: isDashed ? "dashes" : "line",
              colour,
              text: name,
            }),
          ),
          panels: [{ chart: growthChart(series, depth) }],
          caption: captionOf(errorGrowth),
          data: {
            caption: "Error that reaches each layer, and how its weight was moved against it",
            columns: [
              layerColumn,
              ...series.map(({ name }) => ({ title: name, align: "right" }) as const),
              { title: "strength", align: "right" },
              { title: "damping", align: "right" },
            ],
            rows: rowsOf(propagation, depth, series),
            sortable: true,
            hideCaption: true,
          },
        })
      : html`<p>Nothing drifts in front of any layer of this model, so there is no growth to draw.</p>`
  }`;
  return { id: "growth", title: "Error growth through the network", say, show };
}

function seriesOf(
  { layers }: PropagationReport,
  growth: ErrorGrowthReport | null,
  { names }: Depth,
): Series[] {
  const own = new Map(layers.map((entry) => [entry.layer, entry.relativeDrift]));
  const asRounded: Series = {
    name: "layer after layer",
    colour: "var(--plan)",
    isDashed: false,
    shares: names.map((name) => own.get(name) ?? null),
  };
  if (!growth) return [asRounded];
  const measured = new Map(growth.layers.map((entry) => [entry.layer, entry]));
  const pick = (key: "sequential" | "oneShot") =>
    names.map((name) => measured.get(name)?.[key] ?? null);
  const oneShot: Series = {
    name: "one by one",
    colour: "var(--other)",
    isDashed: true,
    shares: pick("oneShot"),
  };
  return [
    { ...asRounded, shares: pick("sequential") },
    ...(oneShot.shares.some((share) => share !== null) ? [oneShot] : []),
  ];
}

function resultSentence({ loss, written }: PropagationReport, { gate }: QuantizeReport): string {
  const unit = gate ? ` ${gate.unit}` : "";
  if (!loss) {
    return "Layers were rounded one after the other, each against what the layers before it really give.";
  }
  const numbers = `${significant(loss.sequential)} against ${significant(loss.oneShot)}${unit}`;
  return written === "sequential"
    ? `Rounding layer after layer, each against what the layers before it really give, pays: ${numbers} when every layer is rounded by itself.`
    : `Rounding layer after layer did not pay here: ${numbers} one by one. Layers rounded one by one were written.`;
}

function howSentence({ correction, layers, resumed }: PropagationReport): string {
  const moved = layers.filter(({ alpha }) => alpha > 0).length;
  const again = resumed > 0 ? ` ${counted(resumed, "layer")} came from an interrupted run.` : "";
  return `Correction ${correction} moved the weights of ${moved} of ${counted(layers.length, "layer")} against the error that reached them.${again}`;
}

function captionOf(growth: ErrorGrowthReport | null): string {
  const what =
    "Share of the energy of each layer's input that is error, Σ‖x − x̂‖² / Σ‖x‖², when all layers before it are quantized";
  return growth
    ? `${what}, measured on ${counted(growth.samples, "sample")} of the gate split, which neither calibration nor search has seen. Both models have the same formats.`
    : `${what}, measured on the calibration data while the layers were being rounded.`;
}

function rowsOf({ layers }: PropagationReport, depth: Depth, series: readonly Series[]) {
  const notes = new Map(layers.map((entry) => [entry.layer, entry]));
  return depth.names.map((name, at) => {
    const note = notes.get(name);
    return [
      layerCell(depth, at),
      ...series.map(({ shares }) =>
        valueCell(shares[at], (share) => (share === 0 ? "none" : shareText(share))),
      ),
      note ? fixed(note.alpha, 2) : "–",
      note && note.alpha > 0 ? significant(note.damping, 2) : "–",
    ];
  });
}

/** "0.012%", with as many digits as it takes. */
function shareText(share: number): string {
  const hundredths = 100 * share;
  return hundredths >= 0.1
    ? percent(share, hundredths < 10 ? 2 : 1)
    : `${significant(hundredths, 2)}%`;
}

function growthChart(series: readonly Series[], depth: Depth): Chart {
  const points = series.map(({ shares }) =>
    shares.flatMap((share, at) =>
      share !== null && share > 0 ? [{ at: middle(at), share, index: at }] : [],
    ),
  );
  type Point = (typeof points)[number][number];
  const domain = logDomain(points.flat().map(({ share }) => share));
  return depthChart(depth, {
    label: `Line chart: share of error in the input of each layer, ${series.map(({ name }) => name).join(" and ")}, logarithmic, along ${counted(depth.names.length, "layer")}.`,
    height: 260,
    y: { type: "log", domain },
    values: {
      ticks: logTicks(domain, 5),
      show: (value) =>
        value < 10 ? `${Number((100 * value).toPrecision(2))}%` : `${plainTick(value)}×`,
      label: "error in the input",
    },
    marks: (plot, room) =>
      series.map(({ colour, isDashed, name }, at) => [
        plot.line(points[at], {
          x: "at",
          y: "share",
          stroke: colour,
          strokeWidth: 2.25,
          ...(isDashed ? { strokeDasharray: "6 4" } : {}),
        }),
        plot.dot(points[at], {
          x: "at",
          y: "share",
          r: Math.min(3.2, Math.max(1, room / 4)),
          fill: isDashed ? "var(--paper)" : colour,
          stroke: colour,
          title: ({ index, share }: Point) => `${depth.names[index]}\n${name}: ${shareText(share)}`,
        }),
      ]),
  });
}
