/** Cells of tables whose rows are layers. */
import { bitsColour } from "./colours.ts";
import type { Depth } from "./depth.ts";
import { html, type Markup } from "./html.ts";
import type { Cell, TableColumn } from "./table.ts";

export const layerColumn: TableColumn = { title: "layer", kind: "nowrap" };

/** A layer's short name; the whole one where one points at it. The table of bits has it for those who do not point. */
export const layerCell = ({ names, short }: Depth, at: number): Markup =>
  html`<span title="${names[at]}">${pathCell(short[at])}</span>`;

/** For whole names. */
export const pathColumn: TableColumn = { title: "layer", kind: "path" };

/** A name that breaks between its parts where lines may break. */
export const pathCell = (name: string): Markup =>
  html`${name.split(/(?<=[/.])/).map((part, at) => (at > 0 ? html`<wbr>${part}` : part))}`;

/** A format with the colour of its width, sorted by width. */
export const formatCell = ({
  format,
  bits,
}: {
  readonly format: string;
  readonly bits: number;
}): Cell => ({
  show: html`<span class="chip" style="background:${bitsColour(bits)}"></span>${format}`,
  order: bits,
});

/** A value where there is one; those without come first. */
export const valueCell = (value: number | null, show: (value: number) => string): Cell =>
  value === null ? { show: "–", order: -1 } : { show: show(value), order: value };
