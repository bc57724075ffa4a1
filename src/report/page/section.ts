/** A section of the page: what is to be seen in words, and the figure or table that shows it. */
import type { QuantizeReport } from "../document.ts";
import type { Depth } from "./depth.ts";
import { html, type Markup, type Part } from "./html.ts";
import type { Pen } from "./plots.ts";

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly say: Part;
  readonly show: Part;
  /** Over the whole width, for what is wide. */
  readonly below?: Part;
}

/** What every section is made from. */
export interface PageInput {
  readonly report: QuantizeReport;
  readonly depth: Depth;
  readonly pen: Pen;
}

export const sectionMarkup = ({ id, title, say, show, below }: Section): Markup => html`
<section id="${id}" class="split" aria-labelledby="${id}-title">
<div class="say">
<h2 id="${id}-title">${title}</h2>
${say}
</div>
<div>
${show}
</div>
${
  below
    ? html`<div class="below">${below}</div>
`
    : null
}</section>
`;
