/** What quantization has cost in both runs, where that may be compared. */
import type { LanguageQualityReport, OutputQualityReport } from "../../document.ts";
import { figure } from "../../page/figure.ts";
import { html, type Markup } from "../../page/html.ts";
import { intervalChart } from "../../page/intervals.ts";
import { counted, decibel, fixed, significant } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { dataTable } from "../../page/table.ts";
import type { PairInput } from "../pair.ts";

export function qualitySection({ comparison, pen }: PairInput): Section {
  const { a, b, quality } = comparison;
  const [one, other] = [a.quality, b.quality];
  const section = { id: "quality", title: "Quality", say: html`<p>${quality.statement}</p>` };
  if (!quality.comparable) return { ...section, show: nothingDrawn };
  if (one.kind === "outputs" && other.kind === "outputs") {
    return { ...section, show: outputTable(one, other) };
  }
  if (one.kind !== "language" || other.kind !== "language") {
    return { ...section, show: nothingDrawn };
  }
  const chart = (
    name: string,
    unit: string,
    key: "perplexityQuantized" | "klDivergence",
    show: (value: number) => string,
  ) => {
    const row = (label: string, { intervals }: LanguageQualityReport, colour: string) => ({
      label,
      estimate: intervals[key],
      colour,
      text: show(intervals[key].value),
    });
    const rows = [row("A", one, "var(--plan)"), row("B", other, "var(--other)")];
    const label = `${name}: ${rows.map(({ label, text }) => `${label} ${text}`).join(", ")}.`;
    return { title: name, chart: intervalChart(label, unit, rows) };
  };
  return {
    ...section,
    show: figure(pen, {
      panels: [
        chart("KL divergence", "nats per token, lower is better →", "klDivergence", significant),
        chart("Perplexity", "lower is better →", "perplexityQuantized", (value) => fixed(value, 3)),
      ],
      caption: `Bars are 95% intervals over the same ${counted(one.windows, "window")}. The float model has perplexity ${fixed(one.perplexity.float, 3)}.`,
    }),
  };
}

const nothingDrawn = html`<p class="soft">No chart is drawn, because it would invite the comparison. Measure both files on the same data with <code>quantize evaluate</code>.</p>`;

function outputTable(a: OutputQualityReport, b: OutputQualityReport): Markup {
  const others = new Map(b.outputs.map((output) => [output.name, output]));
  return dataTable({
    caption: "Outputs against the float model",
    columns: [
      { title: "output", kind: "nowrap" },
      { title: "SQNR, A", align: "right" },
      { title: "SQNR, B", align: "right" },
      { title: "cosine, A", align: "right" },
      { title: "cosine, B", align: "right" },
    ],
    rows: a.outputs.map(({ name, sqnrDb, cosine }) => {
      const other = others.get(name);
      return [
        html`<code>${name}</code>`,
        decibel(sqnrDb),
        other ? decibel(other.sqnrDb) : "–",
        cosine.toFixed(6),
        other ? other.cosine.toFixed(6) : "–",
      ];
    }),
  });
}
