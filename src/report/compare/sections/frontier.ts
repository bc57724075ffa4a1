/** The plans that could have been in both runs: in one chart where their losses have one scale, else in two. */
import type { QuantizeReport } from "../../document.ts";
import { figure } from "../../page/figure.ts";
import { html } from "../../page/html.ts";
import { fixed, significant } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { bitsRange, type Decided, frontierChart } from "../../page/sections/frontier.ts";
import type { PairInput } from "../pair.ts";

/** Whether the predicted losses of both can be set beside each other. */
export const shareScale = (a: QuantizeReport, b: QuantizeReport): boolean =>
  Boolean(a.decision && b.decision) &&
  a.options.scorer === b.options.scorer &&
  a.scoreUnit === b.scoreUnit;

export function frontierSection(input: PairInput): Section | null {
  const { a, b } = input;
  if (!a.decision || !b.decision) return null;
  const runs = [
    { report: a, decision: a.decision },
    { report: b, decision: b.decision },
  ] as const;
  const section = { id: "frontier", title: "The plans that could have been" };
  return { ...section, ...(shareScale(a, b) ? oneChart(input, runs) : twoCharts(input, runs)) };
}

const oneChart = ({ a, pen }: PairInput, runs: readonly Decided[]) => ({
  say: html`<p>Losses are predictions of <code>${String(a.options.scorer)}</code>, added up over layers. Where data or options differ, so do the curves.</p>`,
  show: figure(pen, {
    legend: [
      { mark: "line", colour: "var(--plan)", text: "best plans of A" },
      { mark: "dashes", colour: "var(--other)", text: "best plans of B" },
      { mark: "star", colour: "var(--ink)", text: "A as written" },
      { mark: "diamond", colour: "var(--ink)", text: "B as written" },
    ],
    panels: [{ chart: frontierChart(runs) }],
    caption: `Predicted loss (${a.scoreUnit}) against size. Upright lines are the budgets.`,
  }),
});

function twoCharts({ a, b, pen }: PairInput, runs: readonly Decided[]) {
  const ranges = runs.map((run) => bitsRange([run]));
  const range = {
    left: Math.min(...ranges.map(({ left }) => left)),
    right: Math.max(...ranges.map(({ right }) => right)),
  };
  const panel = (name: string, { options, scoreUnit }: QuantizeReport, run: Decided) => {
    const { label, draw } = frontierChart([run], range);
    return {
      title: `${name}, planned with ${String(options.scorer)} (${scoreUnit})`,
      chart: { label: `${name}. ${label}`, draw },
    };
  };
  const written = ({ report, decision }: Decided) =>
    `${fixed((8 * decision.written.bytes) / report.weights, 3)} bits per weight and ${significant(decision.written.loss)}`;
  return {
    say: html`<p>A was planned with <code>${String(a.options.scorer)}</code>, B with <code>${String(b.options.scorer)}</code>: their predicted losses have no common scale.</p>
<p class="soft">Sizes and shapes can be read across, heights cannot.</p>`,
    show: figure(pen, {
      legend: [
        { mark: "line", colour: "var(--plan)", text: "best mixed plans" },
        { mark: "ring", colour: "var(--other)", text: "one format for all layers" },
        { mark: "star", colour: "var(--ink)", text: "the written plan" },
        { mark: "dashes", colour: "var(--edge)", text: "the budget" },
      ],
      panels: [panel("A", a, runs[0]), panel("B", b, runs[1])],
      caption: `Predicted loss, each in its scorer's unit, against size on the same scale. A was written at ${written(runs[0])}, B at ${written(runs[1])}.`,
    }),
  };
}
