/** The head of the page: what became of the model, what that cost, and whether every promise was kept. */
import type { LanguageQualityReport, QuantizeReport } from "../../document.ts";
import { html, type Markup, type Part } from "../html.ts";
import { fileName } from "../names.ts";
import {
  byteSize,
  change,
  counted,
  decibel,
  fixed,
  grouped,
  interval,
  percent,
  significant,
} from "../numbers.ts";

export function pageTitle(report: QuantizeReport): string {
  return `${fileName(report.model.path)} at ${fixed(report.bitsPerWeight, 2)} bits per weight`;
}

/** The result in a few sentences. */
export function leadText(report: QuantizeReport): string {
  const { model, output, quality } = report;
  const size = `${byteSize(model.bytes)} became ${byteSize(output.bytes)}, ${percent(output.bytes / model.bytes)} of the file.`;
  if (quality.kind === "language") {
    const { perplexity, windows, tokens } = quality;
    const rise = perplexity.quantized / perplexity.float - 1;
    const word = rise < 0 ? "down" : "up";
    return `${size} Perplexity went from ${fixed(perplexity.float, 2)} to ${fixed(perplexity.quantized, 2)}, ${word} ${percent(Math.abs(rise))}, on ${counted(windows, "window")} of text (${grouped(tokens)} tokens).`;
  }
  const worst = worstOutput(quality.outputs);
  return worst
    ? `${size} On ${counted(quality.samples, "sample")} ${outputText(quality.outputs.length, worst)}`
    : size;
}

function outputText(
  outputs: number,
  { sqnrDb, cosine }: { readonly sqnrDb: number | null; readonly cosine: number },
): string {
  const which = outputs > 1 ? "the least exact output" : "the output";
  if (sqnrDb === null) {
    return outputs > 1 ? "all outputs are exact." : "the output is exact.";
  }
  return `${which} keeps ${decibel(sqnrDb)} of signal over quantization noise, cosine ${cosine.toFixed(5)}.`;
}

function worstOutput<T extends { readonly sqnrDb: number | null }>(
  outputs: readonly T[],
): T | undefined {
  const rank = ({ sqnrDb }: T) => sqnrDb ?? Number.POSITIVE_INFINITY;
  return outputs.reduce<T | undefined>(
    (worst, one) => (worst && rank(worst) <= rank(one) ? worst : one),
    undefined,
  );
}

export function headline(report: QuantizeReport): Markup {
  return html`
<section id="result" aria-labelledby="result-title">
<h2 id="result-title" class="unseen">Result</h2>
<dl class="tiles">
${sizeTiles(report)}${qualityTiles(report)}</dl>
<h3>Promises</h3>
${promiseList(report)}
</section>
`;
}

/** Whether the budget, the gate and the bounds hold. */
export const promiseList = (report: QuantizeReport): Markup => html`<ul class="promises">
${promises(report).map(
  ({ mark, text }) =>
    html`<li><span class="mark ${mark}">${marks[mark]}</span><span>${text}</span></li>\n`,
)}</ul>`;

const tile = (label: string, value: string, note: Part, share?: number): Markup =>
  html`<div><dt>${label}</dt><dd><strong>${value}</strong>${
    share === undefined
      ? null
      : html`<span class="bar" aria-hidden="true"><i style="width:${(100 * Math.min(1, share)).toFixed(2)}%"></i></span>`
  }${note}</dd></div>\n`;

function sizeTiles(report: QuantizeReport): Markup[] {
  const { model, output, bitsPerWeight, weights, floatWeightBytes } = report;
  const share = output.bytes / model.bytes;
  const floatBits = (8 * floatWeightBytes) / weights;
  return [
    tile("File", byteSize(output.bytes), `${percent(share)} of ${byteSize(model.bytes)}`, share),
    tile(
      "Bits per weight",
      fixed(bitsPerWeight, 3),
      `instead of ${fixed(floatBits, 0)}, over ${grouped(weights)} weights, scales included`,
      bitsPerWeight / floatBits,
    ),
  ];
}

function qualityTiles({ quality }: QuantizeReport): Markup[] {
  if (quality.kind === "language") return languageTiles(quality);
  const worst = worstOutput(quality.outputs);
  if (!worst) return [];
  const name = quality.outputs.length > 1 ? `Lowest SQNR, of ${worst.name}` : "SQNR of the output";
  const cosine = Math.min(...quality.outputs.map((output) => output.cosine));
  return [
    tile(
      name,
      decibel(worst.sqnrDb),
      "signal over quantization noise; 20 dB is a tenth, in amplitude",
    ),
    tile(
      "Lowest cosine",
      cosine.toFixed(5),
      "of outputs with those of the float model; 1 is the same direction",
    ),
  ];
}

function languageTiles(quality: LanguageQualityReport): Markup[] {
  const { perplexity, intervals, klDivergence, topAgreement } = quality;
  const two = (value: number) => fixed(value, 2);
  return [
    tile(
      "Perplexity",
      two(perplexity.quantized),
      `${change(perplexity.quantized / perplexity.float - 1)} from ${two(perplexity.float)}; ${interval(intervals.perplexityQuantized, two)}`,
    ),
    tile(
      "KL divergence",
      significant(klDivergence),
      `nats per token; ${interval(intervals.klDivergence, significant)}`,
    ),
    tile(
      "Same first choice",
      percent(topAgreement),
      `of tokens; ${interval(intervals.topAgreement, (share) => percent(share))}`,
    ),
  ];
}

type Mark = "kept" | "missed" | "open";

const marks: Readonly<Record<Mark, string>> = {
  kept: "✓ kept",
  missed: "✗ not kept",
  open: "– not made",
};

function promises(report: QuantizeReport): { readonly mark: Mark; readonly text: string }[] {
  return [budgetPromise(report), gatePromise(report), ...boundPromises(report)];
}

function budgetPromise({ budgetBytes, weightBytes, options }: QuantizeReport) {
  const asked =
    typeof options.budget === "string" ? `Budget ${options.budget}: weights` : "Weights";
  const over = weightBytes > budgetBytes;
  const left = Math.abs(budgetBytes - weightBytes);
  const rest = over
    ? `${grouped(left)} too many`
    : `${left === 0 ? "none" : grouped(left)} left over`;
  const text = `${asked} take ${grouped(weightBytes)} of ${grouped(budgetBytes)} bytes, ${rest}. The written file was opened again and holds exactly these.`;
  return { mark: over ? ("missed" as const) : ("kept" as const), text };
}

function gatePromise({ gate }: QuantizeReport) {
  if (!gate) {
    const text = "No comparison with uniform bits: a saved plan was applied as it is.";
    return { mark: "open" as const, text };
  }
  const { uniform, planLoss, unit, samples, written } = gate;
  const on = `on ${counted(samples, "sample")} that neither calibration nor search has seen`;
  if (!uniform) {
    const text = `Never worse than uniform bits: no uniform plan fits this budget; the plan loses ${significant(planLoss)} ${unit} ${on}.`;
    return { mark: "kept" as const, text };
  }
  const numbers = `${significant(planLoss)} against ${significant(uniform.loss)} ${unit} of ${uniform.format} everywhere, the best that fits`;
  const text =
    written === "plan"
      ? `Never worse than uniform bits: ${numbers}, ${on}.`
      : `Never worse than uniform bits: the mixed plan lost, ${numbers}, ${on}. The uniform plan was written.`;
  return { mark: "kept" as const, text };
}

/** A missed bound writes no file, so there is no report of it. */
function boundPromises({ bounds, quality }: QuantizeReport) {
  const made: { mark: Mark; text: string }[] = [];
  const { maxKlDivergence, maxPerplexityIncrease } = bounds;
  if (quality.kind === "language" && maxKlDivergence !== null) {
    const isKept = quality.klDivergence <= maxKlDivergence;
    const text = `KL divergence at most ${significant(maxKlDivergence)} nats per token: it is ${significant(quality.klDivergence)}.`;
    made.push({ mark: isKept ? "kept" : "missed", text });
  }
  if (quality.kind === "language" && maxPerplexityIncrease !== null) {
    const rise = quality.perplexity.quantized / quality.perplexity.float - 1;
    const text = `Perplexity up by at most ${percent(maxPerplexityIncrease)}: it is ${change(rise)}.`;
    made.push({ mark: rise <= maxPerplexityIncrease ? "kept" : "missed", text });
  }
  if (made.length > 0) return made;
  return [{ mark: "open" as const, text: "No bound on the loss of quality was asked for." }];
}
