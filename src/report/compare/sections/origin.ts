/** Where both files came from: the options that differ, and how each was made. */
import type { QuantizeReport } from "../../document.ts";
import { html } from "../../page/html.ts";
import { counted, grouped } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { optionText } from "../../page/sections/origin.ts";
import { type DataTable, dataTable, factList, type TableColumn } from "../../page/table.ts";
import type { PairInput } from "../pair.ts";

export function originSection({ a, b, comparison }: PairInput): Section {
  const names = Object.keys(comparison.options);
  const run = (
    name: string,
    { commandLine, output, bitloom }: QuantizeReport,
  ) => html`<h3>${name}</h3>
${commandLine === null ? null : html`<pre><code>${commandLine}</code></pre>`}
${factList([
  ["Written", `${output.path}, ${grouped(output.bytes)} bytes`],
  ["Its sha256", html`<code>${output.sha256}</code>`],
  ["Made with", `bitloom ${bitloom}`],
])}`;
  const differ =
    names.length === 0
      ? "Both runs had the same options."
      : `${counted(names.length, "option")} ${names.length === 1 ? "differs" : "differ"}.`;
  const isUnknown = names.some((name) => !(isRecorded(a, name) && isRecorded(b, name)));
  return {
    id: "origin",
    title: "Provenance",
    say: html`<p>${differ}</p>${
      isUnknown
        ? html`
<p class="soft">A dash stands for an option of which the report says nothing.</p>`
        : null
    }`,
    show: html`${names.length === 0 ? null : dataTable(optionTable(a, b, names))}${run("A", a)}${run("B", b)}`,
  };
}

/** Longer values are broken into lines. */
const longestInOneLine = 20;

function optionTable(a: QuantizeReport, b: QuantizeReport, names: readonly string[]): DataTable {
  const column = (title: string, report: QuantizeReport): TableColumn =>
    names.some((name) => recorded(report, name).length > longestInOneLine)
      ? { title, kind: "words" }
      : { title, kind: "nowrap" };
  return {
    caption: "Options that differ",
    columns: [{ title: "option", kind: "nowrap" }, column("A", a), column("B", b)],
    rows: names.map((name) => [name, recorded(a, name), recorded(b, name)]),
  };
}

const isRecorded = ({ options }: QuantizeReport, name: string): boolean =>
  Object.hasOwn(options, name);

/** What a report does not say is neither an option that was left out nor "none", which is a correction. */
const recorded = (report: QuantizeReport, name: string): string =>
  isRecorded(report, name) ? optionText(report.options[name]) : "–";
