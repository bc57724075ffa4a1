/** How the error grows through the network in both runs, on one axis. */
import type { QuantizeReport } from "../../document.ts";
import { layerCell, layerColumn } from "../../page/cells.ts";
import type { Depth } from "../../page/depth.ts";
import { figure } from "../../page/figure.ts";
import { html, type Markup } from "../../page/html.ts";
import type { Section } from "../../page/section.ts";
import {
  canBeDrawn,
  type ErrorShares,
  errorShares,
  type GrowthCurve,
  growthChart,
  growthLegend,
  measuredWhere,
  nothingDrifts,
  resultSentence,
  shareCells,
  shareText,
  shareWords,
} from "../../page/sections/growth.ts";
import type { PairInput } from "../pair.ts";

interface Grown {
  readonly curves: readonly GrowthCurve[];
  /** Of the layers as they were written; null where that was not measured. */
  readonly written: ErrorShares | null;
}

export function growthSection({ a, b, depth, pen }: PairInput): Section | null {
  if (!a.propagation && !b.propagation) return null;
  const [one, other] = [grownIn("A", a, depth), grownIn("B", b, depth)];
  const curves = [...one.curves, ...other.curves];
  const say = html`${atTheEnd(one, other, depth)}
<p class="soft">A: ${howRounded(a)}</p>
<p class="soft">B: ${howRounded(b)}</p>`;
  const show = canBeDrawn(curves)
    ? figure(pen, {
        legend: growthLegend(curves),
        panels: [{ chart: growthChart(curves, depth) }],
        caption: captionOf(a, b),
        data: {
          caption: "Error that reaches each layer",
          columns: [
            layerColumn,
            ...curves.map(({ name }) => ({ title: name, align: "right" }) as const),
          ],
          rows: depth.names.map((_, at) => [layerCell(depth, at), ...shareCells(curves, at)]),
          sortable: true,
          hideCaption: true,
        },
      })
    : html`<p>${nothingDrifts}</p>`;
  return { id: "growth", title: "Error growth through the network", say, show };
}

/** Colours tell the runs apart, strokes all curves. */
const looks = {
  A: { colour: "var(--plan)", sequential: "line", oneShot: "dots" },
  B: { colour: "var(--other)", sequential: "dashes", oneShot: "dash-dots" },
} as const;

function grownIn(run: keyof typeof looks, report: QuantizeReport, depth: Depth): Grown {
  const { propagation, errorGrowth } = report;
  if (!propagation) return { curves: [], written: null };
  const { sequential, oneShot } = errorShares(propagation, errorGrowth, depth);
  const { colour, ...marks } = looks[run];
  const curve = (key: keyof typeof marks, words: string, shares: ErrorShares): GrowthCurve => ({
    name: `${run}, ${words}`,
    colour,
    mark: marks[key],
    isHollow: key === "oneShot",
    shares,
  });
  return {
    curves: [
      curve("sequential", "layer after layer", sequential),
      ...(oneShot ? [curve("oneShot", "one by one", oneShot)] : []),
    ],
    written: propagation.written === "sequential" ? sequential : oneShot,
  };
}

const howRounded = (report: QuantizeReport): string =>
  report.propagation
    ? resultSentence(report.propagation, report)
    : "Every layer was rounded by itself, and what reaches it was not measured.";

/** What is left of a signal where all of the network lies behind it. */
function atTheEnd(a: Grown, b: Grown, { names, short }: Depth): Markup | null {
  const known = (at: number) => [a, b].map(({ written }) => written?.[at] ?? null);
  const last = names.findLastIndex((_, at) => known(at).every((share) => share !== null));
  if (last < 0) return null;
  const [one, other] = known(last).map((share) => shareText(share ?? 0));
  return html`<p>Of the energy that reaches <code>${short[last]}</code>, the last layer measured in both, ${one} is error in A and ${other} in B, as they were written.</p>`;
}

function captionOf(a: QuantizeReport, b: QuantizeReport): string {
  const [one, other] = [a, b].map(({ errorGrowth }) => measuredWhere(errorGrowth));
  if (!a.propagation || !b.propagation) return `${shareWords}, ${a.propagation ? one : other}.`;
  const sameSamples =
    one === other &&
    a.options.seed === b.options.seed &&
    a.options.calibrationFingerprint === b.options.calibrationFingerprint;
  if (sameSamples) return `${shareWords}, ${one}: the same ones for both.`;
  const where = one === other ? one : `A ${one}, B ${other}`;
  return `${shareWords}, ${where}. The samples are not the same, so small differences may be theirs.`;
}
