/** `quantize compare A.json B.json`: the reports of two runs on one model beside each other. */
import {
  type Comparison,
  checkOutputs,
  compareReports,
  comparisonRows,
  loadReport,
  renderComparison,
  writeText,
} from "../../index.ts";
import { defineCommand } from "../command.ts";
import { counted, decibel, grouped } from "../numbers.ts";
import { displayOptions, force, type Maybe } from "../options.ts";
import type { Style } from "../style.ts";
import { facts, table, wrap } from "../table.ts";

export const compareCommand = defineCommand({
  name: "compare",
  summary: "Sets the reports of two runs on one model beside each other.",
  arguments: ["a", "b"],
  options: {
    html: {
      flags: "--html <file>",
      help: "writes the comparison as a page too",
    } as Maybe<string>,
    force,
    ...displayOptions,
  },
  examples: [
    "quantize compare a.json b.json",
    "quantize compare a.json b.json --html compare.html",
  ],
  details: () => "Reports are the JSON files of --report. Both must be of the same model.",
  async run([first, second], { html, force = false }) {
    const inputs = [first, second];
    if (html !== undefined) await checkOutputs([html], { inputs, force });
    const [a, b] = [await loadReport(first), await loadReport(second)];
    const comparison = compareReports(a, b);
    if (html !== undefined) {
      await writeText(html, await renderComparison(a, b), { inputs, force });
    }
    return { document: comparison, text: (style) => compareText(comparison, style, html) };
  },
});

function compareText(comparison: Comparison, style: Style, html: string | undefined): string {
  const { a, b, changed, layers, quality, options } = comparison;
  const entries: [string, string][] = [
    ["A", a.output.path],
    ["B", b.output.path],
    [
      "Formats",
      changed.length === 0
        ? `the same for all ${counted(layers, "layer")}`
        : `${changed.length} of ${counted(layers, "layer")} differ`,
    ],
    ["Quality", wrap(quality.statement, Math.min(style.columns, 100) - 9).join("\n")],
  ];
  const names = Object.keys(options);
  if (names.length > 0) entries.push(["Options", `${names.join(", ")} differ`]);
  if (html !== undefined) entries.push(["Page", html]);
  const rows = comparisonRows(comparison).map(({ name, a, b, difference }) => [
    name,
    a,
    b,
    difference,
  ]);
  const headline = table(
    [
      { title: "" },
      { title: "A", align: "right" },
      { title: "B", align: "right" },
      { title: "B against A", align: "right" },
    ],
    rows,
    style,
  );
  const parts = [headline, ...(changed.length > 0 ? [changedTable(comparison, style)] : [])];
  return [...parts, facts(entries, style)].join("\n\n");
}

function changedTable({ changed }: Comparison, style: Style): string {
  return table(
    [
      { title: "layer", flexible: true },
      { title: "format, A" },
      { title: "format, B" },
      { title: "bytes, B - A", align: "right" },
      { title: "SQNR, A", align: "right" },
      { title: "SQNR, B", align: "right" },
    ],
    changed.map(({ name, a, b }) => {
      const difference = (b?.bytes ?? 0) - (a?.bytes ?? 0);
      return [
        name,
        a?.format ?? "-",
        b?.format ?? "-",
        `${difference > 0 ? "+" : ""}${grouped(difference)}`,
        a ? decibel(a.sqnrDb) : "-",
        b ? decibel(b.sqnrDb) : "-",
      ];
    }),
    style,
  );
}
