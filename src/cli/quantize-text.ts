/** The report of a whole run as text. */
import type { QuantizeReport } from "../index.ts";
import {
  counted,
  decibel,
  duration,
  exactBytes,
  grouped,
  percent,
  significant,
} from "./numbers.ts";
import type { Style } from "./style.ts";
import { facts } from "./table.ts";
import { formatCounts, layerTable, noticeLines, qualityFacts, skippedLines } from "./text.ts";

export interface QuantizeTextOptions {
  /** Quality was measured on held-out calibration data. */
  readonly heldOut: boolean;
  /** Files that the report was written to. */
  readonly reports?: readonly string[] | undefined;
}

/**
 * Layer table, what was written and why, quality, sizes, notices, time.
 */
export function quantizeText(
  report: QuantizeReport,
  style: Style,
  { heldOut, reports = [] }: QuantizeTextOptions,
): string {
  const { model, output, layers, skipped, notices, worstLayer } = report;
  const entries: [string, string][] = [
    ["Formats", formatCounts(layers)],
    ["Plan", planLine(report)],
    ...(report.propagation ? [["Propagation", propagationLine(report)] as [string, string]] : []),
    ...qualityFacts(report.quality, heldOut),
  ];
  if (worstLayer) {
    entries.push(["Worst layer", `${worstLayer.name}, SQNR ${decibel(worstLayer.sqnrDb)}`]);
  }
  entries.push(
    ["Weights", weightsLine(report)],
    [
      "File",
      `${exactBytes(model.bytes)} -> ${exactBytes(output.bytes)}, ${percent(output.bytes / model.bytes)}`,
    ],
    ["Written", output.files.join("\n")],
  );
  if (reports.length > 0) entries.push(["Report", reports.join("\n")]);
  if (skipped.length > 0) {
    entries.push(["Left in float", `${counted(skipped.length, "node")}\n${skippedLines(skipped)}`]);
  }
  entries.push(["Time", timeLine(report.timings)]);
  const parts = [layerTable(layers, style), facts(entries, style)];
  if (notices.length > 0) parts.push(noticeLines(notices, style));
  return parts.join("\n\n");
}

function planLine({ gate, scoreUnit }: QuantizeReport): string {
  if (!gate) return `applied as saved; losses ${scoreUnit}`;
  const { planLoss, uniform, unit, written, samples } = gate;
  const held = `on ${counted(samples, "held-out sample")}`;
  if (!uniform) return `${significant(planLoss)} ${unit} ${held}; no uniform plan fits`;
  const other = `uniform ${uniform.format} ${significant(uniform.loss)}`;
  if (planLoss === uniform.loss) {
    return `as good as uniform ${uniform.format} ${held}: ${significant(planLoss)} ${unit}`;
  }
  return written === "plan"
    ? `mixed precision wins ${held}: ${significant(planLoss)} against ${other} ${unit}`
    : `uniform bits win ${held}: ${other} against ${significant(planLoss)} ${unit} of the mixed plan`;
}

/** How the layers were rounded, and what that gained on held-out data. */
function propagationLine({ propagation, gate }: QuantizeReport): string {
  if (!propagation) return "";
  const { correction, loss, written, layers, resumed } = propagation;
  const unit = gate ? ` ${gate.unit}` : "";
  const moved = layers.filter(({ alpha }) => alpha > 0).length;
  const how = `layer after layer, correction ${correction} (${moved} of ${counted(layers.length, "layer")} moved)`;
  const numbers =
    loss &&
    `${significant(loss.sequential)} against ${significant(loss.oneShot)}${unit} one by one`;
  const isSequential = written === "sequential";
  const lines = [numbers ? `${isSequential ? how : "one by one wins"}: ${numbers}` : how];
  if (resumed > 0) lines.push(`${counted(resumed, "layer")} taken from an interrupted run`);
  return lines.join("\n");
}

function weightsLine(report: QuantizeReport): string {
  const { weights, weightBytes, floatWeightBytes, bitsPerWeight, budgetBytes } = report;
  const floatBits = (8 * floatWeightBytes) / weights;
  return [
    `${grouped(weights)} weights, ${floatBits.toFixed(2)} -> ${bitsPerWeight.toFixed(4)} bits each`,
    `${exactBytes(floatWeightBytes)} -> ${exactBytes(weightBytes)}; budget ${exactBytes(budgetBytes)}`,
  ].join("\n");
}

/** The total, and the stages that took at least a twentieth of it. */
export function timeLine(timings: Readonly<Record<string, number>>): string {
  const total = Object.values(timings).reduce((sum, ms) => sum + ms, 0);
  const long = Object.entries(timings).filter(([, ms]) => ms >= total / 20);
  const parts = long.map(([stage, ms]) => `${stage} ${duration(ms)}`).join(", ");
  return `${duration(total)}${parts ? ` (${parts})` : ""}`;
}
