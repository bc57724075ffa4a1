/** A figure: what the marks mean, the drawings, a caption, and the numbers behind it in a table. */
import { html, type Markup, type Part } from "./html.ts";
import type { Chart, Pen } from "./plots.ts";
import { type DataTable, detailsTable } from "./table.ts";

export interface FigurePanel {
  readonly title?: string;
  readonly chart: Chart;
}

export interface FigureOptions {
  readonly legend?: readonly LegendEntry[];
  readonly panels: readonly FigurePanel[];
  readonly caption: Part;
  readonly data?: DataTable;
}

/** The form of a mark as well as its colour: neither is needed to know the other. */
export interface LegendEntry {
  readonly mark:
    | "dot"
    | "ring"
    | "square"
    | "up"
    | "down"
    | "line"
    | "dashes"
    | "dots"
    | "dash-dots"
    | "star"
    | "diamond"
    | "rule";
  /** A colour of the page, "var(--plan)". */
  readonly colour: string;
  readonly text: string;
}

export function figure(pen: Pen, { legend = [], panels, caption, data }: FigureOptions): Markup {
  const drawn = panels.map(
    ({ title, chart }) =>
      html`${title ? html`<p class="panel">${title}</p>\n` : null}${pen.draw(chart)}`,
  );
  return html`<figure>
${legend.length > 0 ? html`<ul class="legend">${legend.map(legendItem)}</ul>\n` : null}${drawn}<figcaption>${caption}</figcaption>
</figure>
${data ? detailsTable("The numbers as a table", data) : null}`;
}

const legendItem = ({ mark, colour, text }: LegendEntry) =>
  html`<li><svg width="22" height="12" viewBox="-11 -6 22 12" aria-hidden="true" style="color:${colour}">${shapes[mark]}</svg>${text}</li>`;

const shapes: Readonly<Record<LegendEntry["mark"], Markup>> = {
  dot: html`<circle r="4" fill="currentColor"/>`,
  ring: html`<circle r="3.5" fill="none" stroke="currentColor" stroke-width="1.5"/>`,
  square: html`<rect x="-3.5" y="-3.5" width="7" height="7" fill="currentColor"/>`,
  up: html`<path d="M0-4.5 4.5 3.5h-9z" fill="none" stroke="currentColor" stroke-width="1.5"/>`,
  down: html`<path d="M0 4.5 4.5-3.5h-9z" fill="currentColor"/>`,
  line: html`<path d="M-11 0h22" stroke="currentColor" stroke-width="2.5"/>`,
  dashes: html`<path d="M-11 0h22" stroke="currentColor" stroke-width="2" stroke-dasharray="4 3"/>`,
  dots: html`<path d="M-10 0h21" stroke="currentColor" stroke-width="2.5" stroke-linecap="round" stroke-dasharray="0 5"/>`,
  "dash-dots": html`<path d="M-11 0h22" stroke="currentColor" stroke-width="2" stroke-dasharray="9 3 2 3"/>`,
  rule: html`<path d="M-11 0h22" stroke="currentColor" stroke-width="1"/>`,
  diamond: html`<path d="M0-6 4 0 0 6-4 0z" fill="currentColor"/>`,
  star: html`<path d="M0-6 1.6-1.9 6-1.9 2.4.8 3.7 5 0 2.5-3.7 5-2.4.8-6-1.9-1.6-1.9z" fill="currentColor"/>`,
};
