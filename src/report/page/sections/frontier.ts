/** The plans that could have been: the best loss for each size, uniform plans, and the plan that was written. */
import type { PlotOptions } from "@observablehq/plot";
import type { DecisionReport, QuantizeReport } from "../../document.ts";
import { linearTicks, logDomain, logTicks, plainTick, valueMarks } from "../axes.ts";
import { marginLeft } from "../depth.ts";
import { figure } from "../figure.ts";
import { html } from "../html.ts";
import { fixed, grouped, significant, times } from "../numbers.ts";
import { type Chart, labelsThatFit, textWidth } from "../plots.ts";
import type { PageInput, Section } from "../section.ts";

export function frontierSection({ report, pen }: PageInput): Section | null {
  const { decision, scoreUnit, weights } = report;
  if (!decision || decision.frontier.length < 2) return null;
  const { written } = decision;
  const say = html`<p>${againstUniform(decision)}</p>
<p class="soft">Losses here are the scorer's predictions, added up over layers; the gate and the evaluation measure the real ones.</p>`;
  const show = figure(pen, {
    legend: [
      { mark: "line", colour: "var(--plan)", text: "best mixed plans" },
      { mark: "ring", colour: "var(--other)", text: "one format for all layers" },
      { mark: "star", colour: "var(--ink)", text: "the written plan" },
      { mark: "dashes", colour: "var(--edge)", text: "the budget" },
    ],
    panels: [{ chart: frontierChart([{ report, decision }]) }],
    caption: `Predicted loss (${scoreUnit}) against size. The lowest uniform plan of each width is labelled. The written plan is at ${fixed((8 * written.bytes) / weights, 3)} bits per weight and ${significant(written.loss)}.`,
    data: {
      caption: "Uniform plans and the written plan",
      columns: [
        { title: "plan" },
        { title: "bytes", align: "right" },
        { title: "bits per weight", align: "right" },
        { title: "predicted loss", align: "right" },
      ],
      rows: [
        ["written", written] as const,
        ...decision.uniform.map((plan) => [plan.format, plan] as const),
      ].map(([name, { bytes, loss }]) => [
        name,
        { show: grouped(bytes), order: bytes },
        fixed((8 * bytes) / weights, 3),
        { show: significant(loss), order: loss },
      ]),
      sortable: true,
      hideCaption: true,
    },
  });
  return { id: "frontier", title: "The plans that could have been", say, show };
}

/** What mixing widths gains over the best uniform plan of no more bytes. */
function againstUniform({ uniform, written }: DecisionReport): string {
  const fitting = uniform.filter(({ bytes }) => bytes <= written.bytes);
  if (fitting.length === 0) return "No uniform plan is as small as the written one.";
  const best = fitting.reduce((a, b) => (b.loss < a.loss ? b : a));
  if (best.loss <= written.loss) {
    return `The best uniform plan of no more bytes, ${best.format}, is predicted to lose no more.`;
  }
  return written.loss > 0
    ? `The best uniform plan of no more bytes, ${best.format}, is predicted to lose ${times(best.loss / written.loss)} times as much.`
    : `The best uniform plan of no more bytes, ${best.format}, is predicted to lose ${significant(best.loss)}; the written one nothing.`;
}

export interface Decided {
  readonly report: Pick<QuantizeReport, "weights" | "budgetBytes">;
  readonly decision: DecisionReport;
}

/** Bits per weight from the left of a chart to its right. */
export interface BitsRange {
  readonly left: number;
  readonly right: number;
}

/** Everything that is decided in the runs; float formats are far to the right of that. */
export function bitsRange(runs: readonly Decided[]): BitsRange {
  const points = pointsOf(runs);
  const bits = drawnPoints(points).map((point) => point.bits);
  const far = Math.max(10, ...points.map(({ budget }) => 1.5 * budget));
  return { left: Math.min(...bits), right: Math.min(Math.max(...bits), far) };
}

const pointsOf = (runs: readonly Decided[]) =>
  runs.map(({ report, decision }, run) => {
    const place = ({ bytes, loss }: { readonly bytes: number; readonly loss: number }) => ({
      bits: (8 * bytes) / report.weights,
      loss,
    });
    return {
      colour: run === 0 ? "var(--plan)" : "var(--other)",
      budget: (8 * report.budgetBytes) / report.weights,
      frontier: decision.frontier.map(place).filter(({ loss }) => loss > 0),
      uniform: runs.length > 1 ? [] : uniformPoints(decision, place),
      written: place(decision.written),
    };
  });

const drawnPoints = (points: ReturnType<typeof pointsOf>) =>
  points.flatMap(({ frontier, uniform, written }) => [...frontier, ...uniform, written]);

/**
 * The first run solid, a second one dashed.
 *
 * @param range - that of several charts which are to be read across.
 */
export function frontierChart(
  runs: readonly Decided[],
  { left, right }: BitsRange = bitsRange(runs),
): Chart {
  const points = pointsOf(runs);
  const drawn = drawnPoints(points);
  const visible = drawn.filter(({ bits }) => bits <= right);
  const domain = logDomain(visible.map(({ loss }) => loss));
  const from = Math.max(0, left - (right - left) * 0.03);
  const inside = <T extends { readonly bits: number; readonly loss: number }>(all: readonly T[]) =>
    all.filter(({ bits, loss }) => bits <= right && loss >= domain[0]);
  return {
    label:
      "Line chart: predicted loss of the best plans against bits per weight, logarithmic, with the written plan on it.",
    draw(plot, size): PlotOptions {
      const top = 26;
      const height = 320;
      const bottom = 40;
      const right2 = 14;
      const perBit = (size.width - marginLeft - right2) / (right * 1.02 - from);
      const labelled = (plans: readonly UniformPoint[]) =>
        labelsThatFit(
          plans
            .filter(({ label }) => label !== "")
            .map((plan) => ({ ...plan, at: (plan.bits - from) * perBit, text: plan.label })),
        );
      return {
        height,
        ...{ marginLeft, marginRight: right2, marginBottom: bottom, marginTop: top },
        x: { domain: [from, right * 1.02], axis: null },
        y: { type: "log", domain, axis: null },
        marks: [
          valueMarks(plot, { ticks: logTicks(domain), show: plainTick, label: "predicted loss" }),
          plot.text(
            linearTicks(right, 8).filter((tick) => tick >= from),
            {
              x: (tick: number) => tick,
              text: plainTick,
              frameAnchor: "bottom",
              lineAnchor: "top",
              dy: 6,
              fill: "var(--soft)",
            },
          ),
          plot.text(["bits per weight, with scales and zero points →"], {
            text: (text: string) => text,
            frameAnchor: "bottom-left",
            lineAnchor: "top",
            dy: 22,
            fill: "var(--soft)",
          }),
          points.map(({ budget, colour }) =>
            plot.ruleX([budget], {
              stroke: runs.length > 1 ? colour : "var(--edge)",
              strokeDasharray: "4 3",
            }),
          ),
          points.map(({ frontier, colour }, run) =>
            plot.line(inside(frontier), {
              x: "bits",
              y: "loss",
              stroke: colour,
              strokeWidth: 2.25,
              ...(run > 0 ? { strokeDasharray: "6 4" } : {}),
            }),
          ),
          points.map(({ uniform }) => [
            plot.dot(inside(uniform), {
              x: "bits",
              y: "loss",
              r: 3,
              stroke: "var(--other)",
              fill: "var(--paper)",
              title: ({ format, bits, loss }: UniformPoint) =>
                `${format}, ${fixed(bits, 3)} bits per weight, loss ${significant(loss)}`,
            }),
            // Beside its mark, on the side where there is room.
            (["start", "end"] as const).map((textAnchor) =>
              plot.text(
                labelled(inside(uniform)).filter(
                  ({ at, text }) =>
                    at + textWidth(text) > (right * 1.02 - from) * perBit ===
                    (textAnchor === "end"),
                ),
                {
                  ...{ x: "bits", y: "loss", text: "text", textAnchor },
                  dy: -10,
                  dx: textAnchor === "start" ? 4 : 2,
                  stroke: "var(--paper)",
                  strokeWidth: 4,
                  fill: "var(--other)",
                },
              ),
            ),
          ]),
          points.map(({ written }, run) =>
            plot.dot([written], {
              x: "bits",
              y: "loss",
              symbol: run === 0 ? "star" : "diamond",
              r: 8,
              fill: "currentColor",
              stroke: "var(--paper)",
              title: ({ bits, loss }: { bits: number; loss: number }) =>
                `written: ${fixed(bits, 3)} bits per weight, loss ${significant(loss)}`,
            }),
          ),
        ],
      };
    },
  };
}

interface UniformPoint {
  readonly bits: number;
  readonly loss: number;
  readonly format: string;
  readonly label: string;
}

/** Uniform plans; the least lossy of each width carries the width as label. */
function uniformPoints(
  { uniform }: DecisionReport,
  place: (plan: DecisionReport["uniform"][number]) => { bits: number; loss: number },
): UniformPoint[] {
  const best = new Map<string, DecisionReport["uniform"][number]>();
  const widthOf = (format: string) => format.replace(/-.*$/, "");
  for (const plan of uniform) {
    const known = best.get(widthOf(plan.format));
    if (!known || plan.loss < known.loss) best.set(widthOf(plan.format), plan);
  }
  return uniform
    .filter(({ loss }) => loss > 0)
    .map((plan) => {
      const width = widthOf(plan.format);
      return {
        ...place(plan),
        format: plan.format,
        label: best.get(width) === plan ? width : "",
      };
    })
    .sort((a, b) => a.bits - b.bits);
}
