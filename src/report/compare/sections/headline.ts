/** The head of a comparison: what differs in a few sentences, every figure of both, and what each run promised. */
import { html, type Markup } from "../../page/html.ts";
import { byteSize, change, counted } from "../../page/numbers.ts";
import { promiseList } from "../../page/sections/headline.ts";
import { dataTable } from "../../page/table.ts";
import type { Comparison } from "../comparison.ts";
import { comparisonRows } from "../facts.ts";
import type { PairInput } from "../pair.ts";

export function leadText({ a, b, changed, layers, quality }: Comparison): string {
  const size =
    a.output.bytes === b.output.bytes
      ? `Both files have ${byteSize(a.output.bytes)}.`
      : `B is ${change(b.output.bytes / a.output.bytes - 1).replace(/^[+−]/, "")} ${b.output.bytes < a.output.bytes ? "smaller" : "larger"} than A.`;
  const formats =
    changed.length === 0
      ? "All layers have the same formats."
      : `${changed.length} of ${counted(layers, "layer")} have another format.`;
  return `${size} ${formats} ${quality.statement}`;
}

export const headline = ({ a, b, comparison }: PairInput): Markup => html`
<section id="result" aria-labelledby="result-title">
<h2 id="result-title">Result</h2>
<p>A is <code>${a.output.path}</code>, B is <code>${b.output.path}</code>.</p>
${dataTable({
  caption: "Both runs, and B against A; intervals below values hold with 95% confidence",
  columns: [
    { title: "measure" },
    { title: "A", align: "right" },
    { title: "B", align: "right" },
    { title: "B against A", align: "right" },
  ],
  rows: comparisonRows(comparison).map(({ name, a, b, difference }) => [
    name,
    inTwoLines(a),
    inTwoLines(b),
    difference,
  ]),
})}
<h3>Promises of A</h3>
${promiseList(a)}
<h3>Promises of B</h3>
${promiseList(b)}
</section>
`;

/** The interval below its value, so that both runs fit a phone. */
function inTwoLines(text: string): Markup {
  const [value, interval] = text.split(" (");
  return html`${value}${interval === undefined ? null : html`<small>${interval.replace(")", "")}</small>`}`;
}
