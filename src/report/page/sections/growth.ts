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
import type { Cell } from "../table.ts";

/** Share of the energy of each layer's input that is error; null where that is not measured. */
export type ErrorShares = readonly (number | null)[];

/** One curve. */
export interface GrowthCurve {
  readonly name: string;
  readonly colour: string;
  readonly mark: keyof typeof dashes;
  /** Its points are rings. */
  readonly isHollow: boolean;
  readonly shares: ErrorShares;
}

const dashes = { line: null, dashes: "6 4", dots: "0 5", "dash-dots": "8 5 0 5" } as const;

export function growthSection({ report, depth, pen }: PageInput): Section | null {
  const { propagation, errorGrowth } = report;
  if (!propagation) return null;
  const series = curvesOf(propagation, errorGrowth, depth);
  const say = html`<p>${resultSentence(propagation, report)}</p>
<p class="soft">${howSentence(propagation)}</p>`;
  const show = html`${
    canBeDrawn(series)
      ? figure(pen, {
          legend: growthLegend(series),
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
      : html`<p>${nothingDrifts}</p>`
  }`;
  return { id: "growth", title: "Error growth through the network", say, show };
}

/** Said where there is no curve. */
export const nothingDrifts =
  "Nothing drifts in front of any layer of this model, so there is no growth to draw.";

/** A curve takes two points, and a logarithmic scale has no zero. */
export const canBeDrawn = (curves: readonly GrowthCurve[]): boolean =>
  curves.flatMap(({ shares }) => shares.filter((share) => share !== null && share > 0)).length > 1;

/** What is known of the error in front of each layer: of layers rounded one after the other, and one by one. */
export function errorShares(
  { layers }: PropagationReport,
  growth: ErrorGrowthReport | null,
  { names }: Depth,
): { readonly sequential: ErrorShares; readonly oneShot: ErrorShares | null } {
  if (!growth) {
    const own = new Map(layers.map((entry) => [entry.layer, entry.relativeDrift]));
    return { sequential: names.map((name) => own.get(name) ?? null), oneShot: null };
  }
  const measured = new Map(growth.layers.map((entry) => [entry.layer, entry]));
  const pick = (key: "sequential" | "oneShot") =>
    names.map((name) => measured.get(name)?.[key] ?? null);
  const oneShot = pick("oneShot");
  return {
    sequential: pick("sequential"),
    oneShot: oneShot.some((share) => share !== null) ? oneShot : null,
  };
}

function curvesOf(
  propagation: PropagationReport,
  growth: ErrorGrowthReport | null,
  depth: Depth,
): GrowthCurve[] {
  const { sequential, oneShot } = errorShares(propagation, growth, depth);
  const rounded: GrowthCurve = {
    name: "layer after layer",
    colour: "var(--plan)",
    mark: "line",
    isHollow: false,
    shares: sequential,
  };
  if (!oneShot) return [rounded];
  const alone = {
    name: "one by one",
    colour: "var(--other)",
    mark: "dashes",
    isHollow: true,
  } as const;
  return [rounded, { ...alone, shares: oneShot }];
}

export const growthLegend = (curves: readonly GrowthCurve[]): LegendEntry[] =>
  curves.map(({ name, colour, mark }) => ({ mark, colour, text: name }));

export function resultSentence(
  { loss, written }: PropagationReport,
  { gate }: Pick<QuantizeReport, "gate">,
): string {
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

/** What the curves show. */
export const shareWords =
  "Share of the energy of each layer's input that is error, Σ‖x − x̂‖² / Σ‖x‖², when all layers before it are quantized";

/** "measured on …". */
export const measuredWhere = (growth: ErrorGrowthReport | null): string =>
  growth
    ? `measured on ${counted(growth.samples, "sample")} of the gate split, which neither calibration nor search has seen`
    : "measured on the calibration data while the layers were being rounded";

const captionOf = (growth: ErrorGrowthReport | null): string =>
  `${shareWords}, ${measuredWhere(growth)}.${growth ? " Both models have the same formats." : ""}`;

function rowsOf({ layers }: PropagationReport, depth: Depth, series: readonly GrowthCurve[]) {
  const notes = new Map(layers.map((entry) => [entry.layer, entry]));
  return depth.names.map((name, at) => {
    const note = notes.get(name);
    return [
      layerCell(depth, at),
      ...shareCells(series, at),
      note ? fixed(note.alpha, 2) : "–",
      note && note.alpha > 0 ? significant(note.damping, 2) : "–",
    ];
  });
}

/** One cell per curve. */
export const shareCells = (curves: readonly GrowthCurve[], at: number): Cell[] =>
  curves.map(({ shares }) =>
    valueCell(shares[at], (share) => (share === 0 ? "none" : shareText(share))),
  );

/** "0.012%", with as many digits as it takes. */
export function shareText(share: number): string {
  const hundredths = 100 * share;
  return hundredths >= 0.1
    ? percent(share, hundredths < 10 ? 2 : 1)
    : `${significant(hundredths, 2)}%`;
}

export function growthChart(curves: readonly GrowthCurve[], depth: Depth): Chart {
  const points = curves.map(({ shares }) =>
    shares.flatMap((share, at) =>
      share !== null && share > 0 ? [{ at: middle(at), share, index: at }] : [],
    ),
  );
  type Point = (typeof points)[number][number];
  const domain = logDomain(points.flat().map(({ share }) => share));
  return depthChart(depth, {
    label: `Line chart: share of error in the input of each layer, ${curves.map(({ name }) => name).join(" and ")}, logarithmic, along ${counted(depth.names.length, "layer")}.`,
    height: 260,
    y: { type: "log", domain },
    values: {
      ticks: logTicks(domain, 5),
      show: (value) =>
        value < 10 ? `${Number((100 * value).toPrecision(2))}%` : `${plainTick(value)}×`,
      label: "error in the input",
    },
    marks: (plot, room) =>
      curves.map(({ colour, mark, isHollow, name }, at) => [
        plot.line(points[at], {
          x: "at",
          y: "share",
          stroke: colour,
          strokeWidth: 2.25,
          ...(mark === "line" ? {} : { strokeDasharray: dashes[mark] }),
        }),
        plot.dot(points[at], {
          x: "at",
          y: "share",
          r: Math.min(3.2, Math.max(1, room / 4)),
          fill: isHollow ? "var(--paper)" : colour,
          stroke: colour,
          title: ({ index, share }: Point) => `${depth.names[index]}\n${name}: ${shareText(share)}`,
        }),
      ]),
  });
}
