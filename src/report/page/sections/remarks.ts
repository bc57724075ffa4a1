/** What changed the result without stopping it, and what stayed in float, with reasons. */
import type { Notice } from "../../../core/events.ts";
import type { SkippedNode } from "../../../core/layer.ts";
import { pathCell } from "../cells.ts";
import { html, type Markup } from "../html.ts";
import { counted, grouped } from "../numbers.ts";
import type { PageInput, Section } from "../section.ts";
import { dataTable, detailsTable } from "../table.ts";

export function remarksSection({ report }: PageInput): Section {
  const { notices, skipped } = report;
  const said =
    notices.length === 0
      ? "Nothing unusual happened."
      : `${counted(notices.length, "notice")} came up on the way.`;
  const left =
    skipped.length === 0
      ? "No node that could hold weights was passed over."
      : `${counted(skipped.length, "node")} ${skipped.length === 1 ? "stays" : "stay"} in float, each for a reason.`;
  return {
    id: "remarks",
    title: "Notices and skipped nodes",
    say: html`<p>${said} ${left}</p>`,
    show: html`${noticeList(notices)}${skippedTable(skipped)}`,
  };
}

/**
 * Equal notices once; the layers they are about follow.
 *
 * @param whose - added to the headings where a page has several such lists.
 */
export function noticeList(notices: readonly Notice[], whose = ""): Markup | null {
  const groups = new Map<
    string,
    { readonly message: string; readonly layers: string[]; count: number }
  >();
  for (const { code, message, layer } of notices) {
    const key = layer === undefined ? message : `${code} ${message.replaceAll(layer, "")}`;
    const group = groups.get(key) ?? { message, layers: [], count: 0 };
    group.count++;
    if (layer !== undefined) group.layers.push(layer);
    groups.set(key, group);
  }
  if (groups.size === 0) return null;
  return html`<h3>Notices${whose}</h3>
<ul class="list">${[...groups.values()].map(
    ({ message, layers, count }) =>
      html`<li>${message}${
        count > 1
          ? html` <details><summary>${counted(count - 1, "more layer")} alike</summary><p>${layers.slice(1).join(", ")}</p></details>`
          : null
      }</li>\n`,
  )}</ul>`;
}

/** @param whose - added to the headings where a page has several such tables. */
export function skippedTable(skipped: readonly SkippedNode[], whose = ""): Markup | null {
  if (skipped.length === 0) return null;
  const groups = new Map<
    string,
    { readonly opType: string; readonly reason: string; count: number }
  >();
  for (const { opType, reason } of skipped) {
    const general = reason.replace(/"[^"]*"/g, "…");
    const group = groups.get(`${opType} ${general}`) ?? { opType, reason: general, count: 0 };
    group.count++;
    groups.set(`${opType} ${general}`, group);
  }
  const sorted = [...groups.values()].sort((a, b) => b.count - a.count);
  return html`<h3>Left in float${whose}</h3>
${dataTable({
  caption: `Nodes left in float${whose}, by reason`,
  columns: [
    { title: "operator" },
    { title: "nodes", align: "right" },
    { title: "reason", kind: "words" },
  ],
  rows: sorted.map(({ opType, reason, count }) => [opType, grouped(count), reason]),
  hideCaption: true,
})}
${detailsTable("Every node", {
  caption: `Every node left in float${whose}`,
  columns: [
    { title: "node", kind: "nowrap" },
    { title: "operator" },
    { title: "reason", kind: "words" },
  ],
  rows: skipped.map(({ name, opType, reason }) => [pathCell(name), opType, reason]),
  hideCaption: true,
})}`;
}
