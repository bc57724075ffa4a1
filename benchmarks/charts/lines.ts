/**
 * Methods as lines: bits per weight across, a quality on a logarithmic axis, each line named at its end.
 */
import { dot, line, link, type Markish, ruleY, text } from "@observablehq/plot";
import { dodge } from "./dodge.ts";
import { type Frame, renderSvg } from "./svg.ts";

export interface XY {
  readonly x: number;
  readonly y: number;
}

export interface Series {
  readonly label: string;
  /** "var(--ours)". */
  readonly colour: string;
  readonly isStrong?: boolean;
  readonly isDashed?: boolean;
  /** In order of x. */
  readonly points: readonly XY[];
}

export interface LineChart extends Frame {
  readonly series: readonly Series[];
  /** A level to be reached, "float 13.45". */
  readonly floor?: { readonly y: number; readonly label: string };
  readonly yTicks: readonly number[];
  readonly xTicks: readonly number[];
}

const size = { width: 860, height: 500 } as const;
const margin = { top: 66, right: 226, bottom: 44, left: 62 } as const;
const labelHeight = 16;

export function lineChart(chart: LineChart): string {
  const { series, floor, xTicks, yTicks } = chart;
  const all = series.flatMap(({ points }) => points);
  const x: [number, number] = [
    Math.min(...all.map((one) => one.x)) - 0.1,
    Math.max(...all.map((one) => one.x)) + 0.1,
  ];
  const heights = [...all.map((one) => one.y), ...(floor ? [floor.y] : [])];
  const y: [number, number] = [Math.min(...heights) / 1.06, Math.max(...heights) * 1.06];
  const marks: Markish[] = [
    ...grid(
      x,
      xTicks,
      yTicks.filter((tick) => tick >= y[0] && tick <= y[1]),
    ),
    ...(floor ? floorMarks(floor, x) : []),
    ...series.flatMap(lineMarks),
    ...labelMarks(series, x, y),
  ];
  return renderSvg(chart, {
    ...size,
    marginTop: margin.top,
    marginRight: margin.right,
    marginBottom: margin.bottom,
    marginLeft: margin.left,
    x: { domain: x, axis: null },
    y: { domain: y, type: "log", axis: null },
    marks,
  });
}

function grid(
  x: readonly [number, number],
  xTicks: readonly number[],
  yTicks: readonly number[],
): Markish[] {
  const soft = { fill: "var(--soft)" } as const;
  return [
    ruleY([...yTicks], { stroke: "var(--line)" }),
    text([...yTicks], {
      ...soft,
      x: x[0],
      y: (value: number) => value,
      text: (value: number) => `${value}`,
      textAnchor: "end",
      dx: -8,
    }),
    text(
      xTicks.filter((tick) => tick >= x[0] && tick <= x[1]),
      {
        ...soft,
        x: (value: number) => value,
        text: (value: number) => `${value}`,
        frameAnchor: "bottom",
        dy: 18,
      },
    ),
    text(["bits per weight, with scales and zero points"], {
      ...soft,
      text: (label: string) => label,
      frameAnchor: "bottom",
      dy: 36,
    }),
  ];
}

function floorMarks(
  { y, label }: NonNullable<LineChart["floor"]>,
  x: readonly number[],
): Markish[] {
  return [
    ruleY([y], { stroke: "var(--soft)", strokeDasharray: "2 4" }),
    text([label], {
      x: x[0],
      y,
      text: (one: string) => one,
      textAnchor: "start",
      dx: 4,
      dy: -8,
      fill: "var(--soft)",
    }),
  ];
}

function lineMarks({ points, colour, isStrong = false, isDashed = false }: Series): Markish[] {
  return [
    line([...points], {
      x: "x",
      y: "y",
      stroke: colour,
      strokeWidth: isStrong ? 3 : 1.6,
      ...(isDashed && { strokeDasharray: "5 4" }),
      strokeLinejoin: "round",
    }),
    dot([...points], { x: "x", y: "y", r: isStrong ? 3.2 : 2.2, fill: colour }),
  ];
}

/** Names at the right of the frame, each tied to the last point of its line. */
function labelMarks(
  series: readonly Series[],
  x: readonly [number, number],
  y: readonly [number, number],
): Markish[] {
  const inner = size.height - margin.top - margin.bottom;
  const [low, high] = y.map(Math.log);
  const toPixel = (value: number) => ((high - Math.log(value)) / (high - low)) * inner;
  const toValue = (pixel: number) => Math.exp(high - (pixel / inner) * (high - low));
  const ends = series.map(({ points }) => points[points.length - 1]);
  const places = dodge(
    ends.map((end) => toPixel(end.y)),
    labelHeight,
  );
  // The pool may stand out of the frame: all of it moves back in.
  const over = Math.max(0, Math.max(...places) - inner + 4);
  const labels = series.map((one, at) => ({
    ...one,
    end: ends[at],
    at: toValue(places[at] - over),
  }));
  return labels.flatMap(({ label, colour, isStrong = false, end, at }) => [
    link([{}], {
      x1: end.x,
      y1: end.y,
      x2: x[1] + 0.22,
      y2: at,
      stroke: colour,
      strokeWidth: 0.8,
      strokeOpacity: 0.7,
    }),
    text([label], {
      x: x[1] + 0.22,
      y: at,
      text: (one: string) => one,
      textAnchor: "start",
      dx: 5,
      fill: colour,
      fontWeight: isStrong ? 700 : 500,
    }),
  ]);
}
