/** The parts that several commands print: quality, notices, skipped nodes, formats. */
import type { Estimate, Notice, QualityReport, SkippedNode } from "../index.ts";
import { counted, decibel, grouped, percent, significant } from "./numbers.ts";
import type { Style } from "./style.ts";
import { table, wrap } from "./table.ts";

type Facts = [label: string, value: string][];

const interval = ({ low, high }: Estimate, show: (value: number) => string) =>
  `[${show(low)}, ${show(high)}]`;

/**
 * Measured quality as facts: values with their 95 % intervals, and what they were measured on.
 *
 * @param heldOut - the data is that part of the calibration data that nothing else has seen.
 */
export function qualityFacts(quality: QualityReport, heldOut = false): Facts {
  const held = heldOut ? "held-out " : "";
  if (quality.kind === "outputs") {
    const outputs = quality.outputs.map(
      ({ name, sqnrDb, cosine }) => `${name}  SQNR ${decibel(sqnrDb)}, cosine ${cosine.toFixed(6)}`,
    );
    return [
      ["Quality", outputs.join("\n")],
      ["Measured on", `${counted(quality.samples, `${held}sample`)} of ${quality.data}`],
    ];
  }
  const { perplexity, intervals, windows, tokens } = quality;
  const ppl = (value: number) => value.toFixed(3);
  const nats = (value: number) => significant(value);
  const share = (value: number) => percent(value, 2);
  const increase = perplexity.quantized / perplexity.float - 1;
  const sign = increase < 0 ? "" : "+";
  const rows = [
    ["perplexity, float", ppl(perplexity.float), interval(intervals.perplexityFloat, ppl)],
    [
      "perplexity, quantized",
      ppl(perplexity.quantized),
      `${interval(intervals.perplexityQuantized, ppl)}  ${sign}${percent(increase, 2)}`,
    ],
    [
      "rise of the loss",
      nats(intervals.nllIncrease.value),
      `${interval(intervals.nllIncrease, nats)} nats per token, paired`,
    ],
    [
      "KL divergence",
      nats(quality.klDivergence),
      `${interval(intervals.klDivergence, nats)} nats per token`,
    ],
    [
      "KL, 99.9th percentile",
      nats(quality.klDivergence999),
      `${interval(intervals.klDivergence999, nats)} nats`,
    ],
    ["top-1 agreement", share(quality.topAgreement), interval(intervals.topAgreement, share)],
  ];
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map(
    ([name, value, rest]) => `${name.padEnd(widths[0])}  ${value.padStart(widths[1])}  ${rest}`,
  );
  return [
    ["Quality", `${lines.join("\n")}\n(brackets: 95% confidence over ${grouped(windows)} windows)`],
    [
      "Measured on",
      `${counted(windows, `${held}window`)}, ${grouped(tokens)} tokens scored, of\n${quality.data.replace(quality.protocol, "windows")}`,
    ],
    ["Protocol", quality.protocol],
  ];
}

/** Equal notices once, with how often they came; the layer's name shows the first. */
export function noticeLines(notices: readonly Notice[], style: Style): string {
  const groups = new Map<string, { readonly message: string; count: number }>();
  for (const { code, message, layer } of notices) {
    const key = layer === undefined ? message : `${code} ${message.replaceAll(`"${layer}"`, "")}`;
    const group = groups.get(key) ?? { message, count: 0 };
    group.count++;
    groups.set(key, group);
  }
  const columns = Math.min(style.columns, 100) - 6;
  return [...groups.values()]
    .map(({ message, count }) => {
      const more = count > 1 ? ` (and ${counted(count - 1, "other layer")} alike)` : "";
      return `${style.warn("note:")} ${wrap(message + more, columns).join("\n      ")}`;
    })
    .join("\n");
}

/** "3 × Conv: not yet supported", most frequent first. */
export function skippedLines(skipped: readonly SkippedNode[], most = 5): string {
  const groups = new Map<string, number>();
  for (const { opType, reason } of skipped) {
    const key = `${opType}: ${reason.replace(/"[^"]*"/g, "…")}`;
    groups.set(key, (groups.get(key) ?? 0) + 1);
  }
  const sorted = [...groups].sort((a, b) => b[1] - a[1]);
  const lines = sorted.slice(0, most).map(([reason, count]) => `${count} × ${reason}`);
  if (sorted.length > most) lines.push("… quantize inspect lists them all");
  return lines.join("\n");
}

/** "12 × int4-b32, 3 × int8-b64". */
export function formatCounts(layers: readonly { readonly format: string }[]): string {
  const counts = new Map<string, number>();
  for (const { format } of layers) counts.set(format, (counts.get(format) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .map(([format, count]) => `${count} × ${format}`)
    .join(", ");
}

interface TableLayer {
  readonly name: string;
  readonly format: string;
  readonly bits: number;
  readonly bytes: number;
  readonly loss: number;
  readonly sqnrDb?: number | null;
}

/** The table of decisions; SQNR only where it was measured. */
export function layerTable(layers: readonly TableLayer[], style: Style): string {
  const measured = layers.some(({ sqnrDb }) => sqnrDb !== undefined);
  return table(
    [
      { title: "layer", flexible: true },
      { title: "format" },
      { title: "bits", align: "right" },
      { title: "bytes", align: "right" },
      { title: "loss", align: "right" },
      ...(measured ? [{ title: "SQNR", align: "right" } as const] : []),
    ],
    layers.map(({ name, format, bits, bytes, loss, sqnrDb }) => [
      name,
      format,
      String(bits),
      grouped(bytes),
      significant(loss),
      ...(measured ? [decibel(sqnrDb ?? null)] : []),
    ]),
    style,
  );
}
