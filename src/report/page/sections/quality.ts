/** What quantization has cost, with how sure that is. */
import type { Estimate } from "../../../core/estimate.ts";
import type { LanguageQualityReport, OutputQualityReport } from "../../document.ts";
import { figure } from "../figure.ts";
import { html } from "../html.ts";
import { intervalChart } from "../intervals.ts";
import {
  change,
  counted,
  decibel,
  fixed,
  grouped,
  interval,
  percent,
  significant,
} from "../numbers.ts";
import type { PageInput, Section } from "../section.ts";
import { type DataTable, dataTable } from "../table.ts";

export function qualitySection(input: PageInput): Section {
  const { quality } = input.report;
  return quality.kind === "language"
    ? languageSection(input, quality)
    : outputSection(input, quality);
}

function languageSection({ pen, report }: PageInput, quality: LanguageQualityReport): Section {
  const { perplexity, intervals, windows } = quality;
  const two = (value: number) => fixed(value, 2);
  const say = html`<p>${riseSentence(quality)}</p>
<p class="soft">The two perplexities vary together from text to text, so their intervals overlap more than the difference does.</p>`;
  const show = html`${figure(pen, {
    panels: [
      {
        chart: intervalChart(
          `Perplexity of the float model ${two(perplexity.float)}, of the quantized model ${two(perplexity.quantized)}, with 95% intervals.`,
          "perplexity, lower is better →",
          [
            {
              label: "float",
              estimate: intervals.perplexityFloat,
              colour: "var(--edge)",
              text: two(perplexity.float),
            },
            {
              label: "quantized",
              estimate: intervals.perplexityQuantized,
              colour: "var(--plan)",
              text: `${two(perplexity.quantized)}, ${change(perplexity.quantized / perplexity.float - 1)}`,
            },
          ],
        ),
      },
    ],
    caption: `Bars are 95% intervals over ${counted(windows, "window")}.`,
  })}
${dataTable(languageTable(quality))}
<p class="soft">Measured on ${report.quality.data.replace(quality.protocol, "windows")}. ${capital(quality.protocol)}.</p>`;
  return { id: "quality", title: "Quality", say, show };
}

/** One window says nothing of how much windows differ. */
function riseSentence({ intervals, windows }: LanguageQualityReport): string {
  const rise = intervals.nllIncrease;
  const by = `the loss rises by ${significant(rise.value)} nats per token`;
  if (windows < 2)
    return `On the only window ${by}; how much that is an accident of the text, one window cannot say.`;
  const sure =
    rise.low > 0
      ? "so it is no accident of the text"
      : rise.high < 0
        ? "so the quantized model is really the better one here"
        : "so on this text the two cannot be told apart";
  return `Window by window ${by}, from ${interval(rise, significant)}: ${sure}.`;
}

export function languageTable(quality: LanguageQualityReport): DataTable {
  const { intervals } = quality;
  const row = (name: string, estimate: Estimate, show: (value: number) => string, unit: string) => [
    name,
    show(estimate.value),
    interval(estimate, show),
    unit,
  ];
  const three = (value: number) => fixed(value, 3);
  const share = (value: number) => percent(value, 2);
  return {
    caption: `Quality over ${grouped(quality.tokens)} tokens, with 95% intervals`,
    columns: [
      { title: "measure" },
      { title: "value", align: "right" },
      { title: "interval", align: "right" },
      { title: "unit" },
    ],
    rows: [
      row("perplexity, float", intervals.perplexityFloat, three, ""),
      row("perplexity, quantized", intervals.perplexityQuantized, three, ""),
      row("rise of the loss, paired", intervals.nllIncrease, significant, "nats per token"),
      row("KL divergence", intervals.klDivergence, significant, "nats per token"),
      row("KL, 99.9th percentile", intervals.klDivergence999, significant, "nats"),
      row("same first choice", intervals.topAgreement, share, "of tokens"),
    ],
  };
}

function outputSection(_: PageInput, quality: OutputQualityReport): Section {
  const say = html`<p>Every output of the quantized model was compared with the float model's on ${counted(quality.samples, "sample")}.</p>
<p class="soft">SQNR is the power of the signal over the power of its error, in decibels: 20 dB is an error of a tenth of the amplitude, 40 dB of a hundredth.</p>`;
  const show = html`${dataTable({
    caption: "Outputs against the float model",
    columns: [
      { title: "output", kind: "nowrap" },
      { title: "SQNR", align: "right" },
      { title: "cosine", align: "right" },
    ],
    rows: quality.outputs.map(({ name, sqnrDb, cosine }) => [
      html`<code>${name}</code>`,
      decibel(sqnrDb),
      cosine.toFixed(6),
    ]),
  })}
<p class="soft">Measured on ${quality.data}.</p>`;
  return { id: "quality", title: "Quality", say, show };
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
