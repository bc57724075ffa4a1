/**
 * Pairs as rows: another method and ours on one logarithmic axis, so that the distance between the dots is the factor.
 */
import { dot, link, type Markish, ruleX, text } from "@observablehq/plot";
import { type Frame, renderSvg } from "./svg.ts";

export interface Pair {
  readonly label: string;
  /** At the right: "4.9 bits". */
  readonly note: string;
  readonly other: number;
  readonly ours: number;
}

export interface DumbbellChart extends Frame {
  readonly pairs: readonly Pair[];
  readonly xTicks: readonly number[];
  readonly otherLabel: string;
  readonly oursLabel: string;
}

const width = 860;
const rowHeight = 24;
const margin = { top: 92, right: 104, bottom: 34, left: 300 } as const;

export function dumbbellChart(chart: DumbbellChart): string {
  const { pairs, xTicks, otherLabel, oursLabel } = chart;
  const values = pairs.flatMap(({ other, ours }) => [other, ours]);
  const x: [number, number] = [Math.min(...values) / 1.5, Math.max(...values) * 1.5];
  const labels = pairs.map(({ label }) => label);
  const [first] = labels;
  const both = (pair: Pair) => ({ x1: pair.ours, x2: pair.other });
  const marks: Markish[] = [
    ruleX(
      xTicks.filter((tick) => tick >= x[0] && tick <= x[1]),
      { stroke: "var(--line)" },
    ),
    text(
      xTicks.filter((tick) => tick >= x[0] && tick <= x[1]),
      {
        x: (tick: number) => tick,
        text: (tick: number) => `${tick}`,
        frameAnchor: "bottom",
        dy: 18,
        fill: "var(--soft)",
      },
    ),
    link(
      pairs.map((pair) => ({ ...pair, ...both(pair) })),
      {
        x1: "x1",
        x2: "x2",
        y1: "label",
        y2: "label",
        stroke: "var(--grey)",
        strokeWidth: 1.5,
      },
    ),
    dot([...pairs], { x: "other", y: "label", r: 5, fill: "var(--other)" }),
    dot([...pairs], { x: "ours", y: "label", r: 5, fill: "var(--ours)" }),
    text([...pairs], {
      y: "label",
      text: "label",
      frameAnchor: "left",
      textAnchor: "end",
      dx: -12,
    }),
    text([...pairs], {
      y: "label",
      text: "note",
      frameAnchor: "right",
      textAnchor: "start",
      dx: 12,
      fill: "var(--soft)",
    }),
    ...(
      [
        [oursLabel, "ours", "var(--ours)"],
        [otherLabel, "other", "var(--other)"],
      ] as const
    ).map(([label, side, colour]) =>
      text([pairs[0]], {
        x: (pair: Pair) => pair[side],
        y: () => first,
        text: () => label,
        dy: -20,
        fill: colour,
        fontWeight: 600,
        textAnchor: (side === "ours") === pairs[0].ours < pairs[0].other ? "end" : "start",
        dx: (side === "ours") === pairs[0].ours < pairs[0].other ? 8 : -8,
      }),
    ),
  ];
  return renderSvg(chart, {
    width,
    height: margin.top + margin.bottom + rowHeight * pairs.length,
    marginTop: margin.top,
    marginRight: margin.right,
    marginBottom: margin.bottom,
    marginLeft: margin.left,
    x: { domain: x, type: "log", axis: null },
    y: { domain: labels, axis: null, type: "point", padding: 0.5 },
    marks,
  });
}
