/** Value axes: thin lines across the chart, labels left of it, what is measured on top. */
import type { Markish } from "@observablehq/plot";
import { scientific } from "./numbers.ts";
import type { Plot } from "./plots.ts";

export interface ValueAxis {
  readonly ticks: readonly number[];
  readonly show: (value: number) => string;
  /** Said above the axis. */
  readonly label: string;
}

export function valueMarks(plot: Plot, { ticks, show, label }: ValueAxis): Markish[] {
  return [
    plot.ruleY([...ticks], { stroke: "var(--line)" }),
    plot.text([...ticks], {
      y: (value: number) => value,
      frameAnchor: "left",
      textAnchor: "end",
      dx: -6,
      fill: "var(--soft)",
      text: show,
    }),
    plot.text([label], {
      frameAnchor: "top-left",
      textAnchor: "start",
      lineAnchor: "bottom",
      dx: -44,
      dy: -10,
      fill: "var(--soft)",
      text: (text: string) => text,
    }),
  ];
}

/** Round numbers from 0 to the largest value, at most `most` steps. */
export function linearTicks(largest: number, most = 4): number[] {
  if (largest <= 0) return [0];
  const raw = largest / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw) ?? raw;
  return Array.from({ length: Math.floor(largest / step) + 1 }, (_, i) => i * step);
}

/** Powers of ten in a range, thinned to at most `most`; halves and fifths where there are few. */
export function logTicks([low, high]: readonly [number, number], most = 6): number[] {
  const from = Math.ceil(Math.log10(low) - 1e-9);
  const to = Math.floor(Math.log10(high) + 1e-9);
  const powers = Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => 10 ** (from + i));
  if (powers.length >= 3) {
    const every = Math.ceil(powers.length / most);
    return powers.filter((_, at) => (powers.length - 1 - at) % every === 0);
  }
  const finer = Array.from({ length: to - from + 3 }, (_, i) => 10 ** (from - 1 + i)).flatMap(
    (power) => [power, 2 * power, 5 * power],
  );
  return finer.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

/** A range that holds the positive values, widened to the next 1, 2 or 5. */
export function logDomain(values: readonly number[]): [number, number] {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value));
  if (positive.length === 0) return [0.1, 10];
  const steps = (value: number) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((factor) => factor * power);
  };
  const [least, most] = [Math.min(...positive), Math.max(...positive)];
  const low =
    steps(least)
      .filter((step) => step <= least * 1.0001)
      .pop() ?? least;
  const high = steps(most).find((step) => step >= most * 0.9999) ?? most;
  return low === high ? [low / 2, high * 2] : [low, high];
}

/** "0.05", "2000", "10⁻⁴", "5·10⁵". */
export const plainTick = (value: number): string =>
  value === 0 || (value >= 1e-3 && value < 1e4)
    ? String(Number(value.toPrecision(3)))
    : scientific(value, 0)
        .replace(/^1\s×\s/, "")
        .replace(/\s×\s/, "·");
