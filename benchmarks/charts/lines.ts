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
const innerHeight = size.height - margin.top - margin.bottom;

export function lineChart(chart: LineChart): string {
  const { series, floor, xTicks, yTicks } = chart;
  const all = series.flatMap(({ points }) => points);
  const x: [number, number] = [
    Math.min(...all.map((one) => one.x)) - 0.1,
    Math.max(...all.map((one) => one.x)) + 0.1,
  ];
  const heights = [...all.map((one) => one.y), ...(floor ? [floor.y] : [])];
  const y: [number, number] = [Math.min(...heights) / 1.06, Math.max(...heights) * 1.06];
  const toPixel = pixelScale(y);
  const marks: Markish[] = [
    ...grid(
      x,
      xTicks,
      apart(
        yTicks.filter((tick) => tick >= y[0] && tick <= y[1]),
        toPixel,
      ),
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

/** Pixels below the top of the frame, and back. */
function pixelScale(y: readonly [number, number]): (value: number) => number {
  const [low, high] = y.map(Math.log);
  return (value) => ((high - Math.log(value)) / (high - low)) * innerHeight;
}

/** Ticks of rising values that leave their labels room. */
function apart(ticks: readonly number[], toPixel: (value: number) => number): number[] {
  const kept: number[] = [];
  for (const tick of ticks) {
    const last = kept.at(-1);
    if (last === undefined || toPixel(last) - toPixel(tick) >= 20) kept.push(tick);
  }
  return kept;
}

/** Names at the right of the frame, each tied to the last point of its line; of lines that end before, above it. */
function labelMarks(
  series: readonly Series[],
  x: readonly [number, number],
  y: readonly [number, number],
): Markish[] {
  const [low, high] = y.map(Math.log);
  const toPixel = pixelScale(y);
  const toValue = (pixel: number) => Math.exp(high - (pixel / innerHeight) * (high - low));
  const ends = series.map(({ points }) => points[points.length - 1]);
  const isLong = (end: XY) => x[1] - end.x < 1;
  const long = series.filter((_, at) => isLong(ends[at]));
  const longEnds = ends.filter(isLong);
  const places = dodge(
    longEnds.map((end) => toPixel(end.y)),
    labelHeight,
  );
  // The pool may stand out of the frame: all of it moves back in.
  const over = Math.max(0, Math.max(...places) - innerHeight + 4);
  const above = (end: XY) => ({ x: end.x + (x[1] - x[0]) / 9, y: toValue(toPixel(end.y) - 70) });
  const labels = [
    ...long.map((one, at) => ({
      ...one,
      end: longEnds[at],
      at: { x: x[1] + 0.22, y: toValue(places[at] - over) },
    })),
    ...series.flatMap((one, at) =>
      isLong(ends[at]) ? [] : [{ ...one, end: ends[at], at: above(ends[at]) }],
    ),
  ];
  return labels.flatMap(({ label, colour, isStrong = false, end, at }) => [
    link([{}], {
      x1: end.x,
      y1: end.y,
      x2: at.x,
      y2: at.y,
      stroke: colour,
      strokeWidth: 0.8,
      strokeOpacity: 0.7,
    }),
    text([label], {
      x: at.x,
      y: at.y,
      text: (one: string) => one,
      textAnchor: "start",
      dx: 5,
      fill: colour,
      fontWeight: isStrong ? 700 : 500,
    }),
  ]);
}
