/** Measured values with their intervals, one row each: to be compared by eye. */
import type { Estimate } from "../../core/estimate.ts";
import { linearTicks, plainTick } from "./axes.ts";
import type { Chart } from "./plots.ts";

export interface IntervalRow {
  readonly label: string;
  readonly estimate: Estimate;
  readonly colour: string;
  readonly text: string;
}

const rowHeight = 40;

export function intervalChart(label: string, unit: string, rows: readonly IntervalRow[]): Chart {
  const low = Math.min(...rows.map(({ estimate }) => estimate.low));
  const high = Math.max(...rows.map(({ estimate }) => estimate.high));
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const domain = [Math.max(0, low - room), high + room] as const;
  const step = linearTicks(domain[1] - domain[0], 5)[1] ?? 1;
  const ticks: number[] = [];
  for (let tick = Math.ceil(domain[0] / step) * step; tick <= domain[1]; tick += step) {
    ticks.push(Number(tick.toPrecision(10)));
  }
  return {
    label,
    draw: (plot) => ({
      height: rows.length * rowHeight + 44,
      ...{ marginLeft: 12, marginRight: 12, marginTop: 4, marginBottom: 40 },
      x: { domain, axis: null },
      y: { domain: [0, rows.length], reverse: true, axis: null },
      marks: [
        plot.ruleX(ticks, { stroke: "var(--line)" }),
        plot.text(ticks, {
          x: (tick: number) => tick,
          text: plainTick,
          frameAnchor: "bottom",
          lineAnchor: "top",
          dy: 5,
          fill: "var(--soft)",
        }),
        plot.text([unit], {
          text: (text: string) => text,
          frameAnchor: "bottom-left",
          lineAnchor: "top",
          dy: 21,
          fill: "var(--soft)",
        }),
        plot.text(rows, {
          text: ({ label, text }: IntervalRow) => `${label}: ${text}`,
          y: (_: IntervalRow, at: number) => at + 0.3,
          frameAnchor: "left",
          textAnchor: "start",
          stroke: "var(--paper)",
          strokeWidth: 4,
          fill: "currentColor",
        }),
        plot.ruleY(rows, {
          y: (_: IntervalRow, at: number) => at + 0.72,
          x1: ({ estimate }: IntervalRow) => estimate.low,
          x2: ({ estimate }: IntervalRow) => estimate.high,
          stroke: "colour",
          strokeWidth: 5,
          strokeOpacity: 0.45,
        }),
        plot.dot(rows, {
          x: ({ estimate }: IntervalRow) => estimate.value,
          y: (_: IntervalRow, at: number) => at + 0.72,
          fill: "colour",
          r: 5,
        }),
      ],
    }),
  };
}
