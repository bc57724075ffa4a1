/** Data tables: captions, scoped headers, numbers aligned, wide ones in a frame of their own that scrolls. */
import { html, type Markup, type Part } from "./html.ts";

export interface TableColumn {
  readonly title: string;
  readonly align?: "right";
  /** Extra class of its cells. */
  readonly kind?: "words" | "nowrap" | "path";
}

/** A cell; with `order` the script sorts by that number instead of the text. */
export type Cell = Part | { readonly show: Part; readonly order: number };

export interface DataTable {
  readonly caption: string;
  readonly columns: readonly TableColumn[];
  /** The first cell names the row. */
  readonly rows: readonly (readonly Cell[])[];
  readonly sortable?: boolean;
  /** Left out of sight where a heading says the same. */
  readonly hideCaption?: boolean;
}

export function dataTable({ caption, columns, rows, sortable, hideCaption }: DataTable): Markup {
  const classOf = ({ align, kind }: TableColumn) =>
    [align === "right" && "number", kind].filter(Boolean).join(" ");
  const head = columns.map(
    (column) => html`<th scope="col" class="${classOf(column)}">${column.title}</th>`,
  );
  const body = rows.map((row) => {
    const cells = row.map((cell, at) => {
      const { show, order } = isOrdered(cell) ? cell : { show: cell, order: undefined };
      const sort = order === undefined ? null : html` data-order="${order}"`;
      const kind = classOf(columns[at]);
      return at === 0
        ? html`<th scope="row" class="${kind}"${sort}>${show}</th>`
        : html`<td class="${kind}"${sort}>${show}</td>`;
    });
    return html`<tr>${cells}</tr>`;
  });
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${caption}">
<table${sortable ? html` data-sortable` : null}>
<caption${hideCaption ? html` class="unseen"` : null}>${caption}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body.map((row) => html`${row}\n`)}</tbody>
</table>
</div>`;
}

/** A table behind a line to open it. */
export const detailsTable = (summary: string, table: DataTable): Markup =>
  html`<details><summary>${summary}</summary>${dataTable(table)}</details>`;

/** Label and value pairs. */
export const factList = (entries: readonly (readonly [string, Part])[]): Markup =>
  html`<dl>${entries.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>\n`)}</dl>`;

function isOrdered(cell: Cell): cell is { readonly show: Part; readonly order: number } {
  return typeof cell === "object" && cell !== null && "order" in cell;
}
