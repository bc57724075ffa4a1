/**
 * Charts as SVG text: Observable Plot on a document of linkedom, both loaded when the first page is made, because they
 * cost more to load than the rest of the library together. Invariant: the same options give the same text.
 */
import type { PlotOptions } from "@observablehq/plot";
import { html, type Markup, raw } from "./html.ts";

export type Plot = typeof import("@observablehq/plot");

/** Text of 12 units is 12 pixels high on a desktop and on a phone: each gets a drawing of its own. */
export interface ChartSize {
  readonly name: "wide" | "narrow";
  readonly width: number;
}

export const chartSizes = {
  wide: { name: "wide", width: 760 },
  narrow: { name: "narrow", width: 342 },
} as const satisfies Record<string, ChartSize>;

/** One drawing; `label` is what a screen reader says instead of it. */
export interface Chart {
  readonly label: string;
  draw(plot: Plot, size: ChartSize): PlotOptions;
}

/** Turns charts into markup. */
export interface Pen {
  draw(chart: Chart): Markup;
}

export async function openPen(): Promise<Pen> {
  const [plot, { parseHTML }] = await Promise.all([
    import("@observablehq/plot"),
    import("linkedom"),
  ]);
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const render = (chart: Chart, size: ChartSize): string => {
    const svg = plot.plot({
      className: "chart",
      ...chart.draw(plot, size),
      width: size.width,
      document: document as unknown as NonNullable<PlotOptions["document"]>,
    });
    svg.querySelector("style")?.remove();
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", chart.label);
    svg.setAttribute("font-size", "12");
    // Plot describes marks to screen readers one by one; the drawing is one image with a table beside it.
    for (const part of svg.querySelectorAll("[aria-label], [aria-description]")) {
      if (part === svg) continue;
      part.removeAttribute("aria-label");
      part.removeAttribute("aria-description");
    }
    // A finger does not hover.
    if (size.name === "narrow") for (const title of svg.querySelectorAll("title")) title.remove();
    return shortNumbers(svg.outerHTML);
  };
  return {
    draw: (chart) =>
      html`${Object.values(chartSizes).map(
        (size) => html`<div class="drawing ${size.name}">${raw(render(chart, size))}</div>\n`,
      )}`,
  };
}

/** Pixels that a label takes at most, in the page's font at the chart's size. */
export const textWidth = (text: string): number => 7.3 * text.length;

interface PlacedLabel {
  /** Pixels. */
  readonly at: number;
  readonly text: string;
}

/** Of labels in order along a line those that have room, each centred on its place; the first come first. */
export function labelsThatFit<T extends PlacedLabel>(labels: readonly T[], gap = 8): T[] {
  const kept: T[] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const label of labels) {
    const half = textWidth(label.text) / 2;
    if (label.at - half < end + gap) continue;
    kept.push(label);
    end = label.at + half;
  }
  return kept;
}

/** Every label, or every second, third, … of evenly spaced ones, so that all of those have room. */
export function everyLabelThatFits<T extends PlacedLabel>(labels: readonly T[]): T[] {
  for (let every = 1; every < labels.length; every++) {
    const some = labels.filter((_, at) => at % every === 0);
    if (labelsThatFit(some).length === some.length) return some;
  }
  return labels.slice(0, 1);
}

/** A hundredth of a pixel is enough; the digits beyond it would be a third of a page. */
const shortNumbers = (markup: string): string =>
  markup.replace(/ (?:d|x|y|x1|x2|y1|y2|width|height|cx|cy|r|transform)="[^"]*"/g, (attribute) =>
    attribute.replace(/-?\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2)))),
  );
