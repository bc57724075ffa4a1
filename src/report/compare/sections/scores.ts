/** Where the scorers that decided put the layers: two orders, and how much they have in common. */
import { spearman } from "../../../math/metrics.ts";
import type { QuantizeReport } from "../../document.ts";
import { layerCell, layerColumn } from "../../page/cells.ts";
import type { Depth } from "../../page/depth.ts";
import { figure } from "../../page/figure.ts";
import { html } from "../../page/html.ts";
import { counted, fixed, grouped } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import {
  placeCell,
  placeOf,
  type RankedScorer,
  ranksOf,
  strips,
} from "../../page/sections/scores.ts";
import type { PairInput } from "../pair.ts";

type Losses = RankedScorer["losses"];

export function scoresSection({ a, b, depth, pen }: PairInput): Section | null {
  const [one, other] = [decidingScorer(a, depth), decidingScorer(b, depth)];
  if (!one || !other || depth.names.length < 3) return null;
  const common = inCommon(one.losses, other.losses);
  const correlation = rankCorrelation(common);
  const strip = (run: string, { name, unit, losses }: Scored, after: string): RankedScorer => ({
    ...{ name: `${name} of ${run}`, unit, losses },
    text: `${run}: ${name}${after}`,
  });
  const agreed = correlation === null ? "" : `, rank correlation ${fixed(correlation, 2)}`;
  const both = [strip("A", one, ""), strip("B", other, agreed)];
  const ranks = both.map(({ losses }) => ranksOf(losses));
  const known = common[0].filter((loss) => loss !== null).length;
  const say = html`<p>${
    correlation === null
      ? "The two orders of the layers have too little in common to be compared."
      : html`The orders of ${counted(known, "layer")} by <code>${one.name}</code> of A and <code>${other.name}</code> of B have a rank correlation of ${fixed(correlation, 2)}: 1 is the same order, 0 none in common.`
  } ${farthestApart(common, depth)}</p>
<p class="soft">${
    one.format === other.format
      ? html`Both judged every layer in <code>${one.format}</code>, the format most layers have.`
      : html`A judged every layer in <code>${one.format}</code>, B in <code>${other.format}</code>: the formats most of their layers have.`
  }</p>`;
  const show = figure(pen, {
    panels: [{ chart: strips(both, ranks, depth) }],
    caption: `One strip per run, one cell per layer: the fuller the colour, the more the run's scorer fears for that layer among all. The correlation is Spearman's. The table has the losses too, ${one.unit === other.unit ? `in ${one.unit}` : `A's in ${one.unit}, B's in ${other.unit}`}.`,
    data: {
      caption:
        "Rank of each layer, 1 where the scorer expects most damage, with the loss it expects",
      columns: [
        layerColumn,
        { title: `A, ${one.name}`, align: "right" },
        { title: `B, ${other.name}`, align: "right" },
      ],
      rows: depth.names.map((_, at) => [
        layerCell(depth, at),
        ...both.map((scorer, row) => placeCell(scorer, ranks[row], at)),
      ]),
      sortable: true,
      hideCaption: true,
    },
  });
  return { id: "scores", title: "Where the scorers put the layers", say, show };
}

interface Scored {
  readonly name: string;
  readonly unit: string;
  /** In which it judged the layers. */
  readonly format: string;
  /** Of the layers of both runs. */
  readonly losses: Losses;
}

/** The run's own scorer; null where nothing was scored. */
function decidingScorer({ scores, layers }: QuantizeReport, { names }: Depth): Scored | null {
  const own = scores?.scorers[0];
  if (!scores || !own) return null;
  const known = new Map(layers.map(({ name }, at) => [name, own.losses[at] ?? null]));
  const losses = names.map((name) => known.get(name) ?? null);
  return { name: own.name, unit: own.unit, format: scores.format, losses };
}

/** Ranks may be compared over layers that both know only. */
function inCommon(a: Losses, b: Losses): [Losses, Losses] {
  const isKnown = a.map((loss, at) => loss !== null && b[at] !== null);
  const only = (losses: Losses) => losses.map((loss, at) => (isKnown[at] ? loss : null));
  return [only(a), only(b)];
}

/** Over the layers that both know; null for fewer than three, or where one side has no order. */
function rankCorrelation([a, b]: readonly [Losses, Losses]): number | null {
  const [x, y] = [a, b].map((losses) => losses.filter((loss) => loss !== null));
  const hasOrder = (losses: readonly number[]) => new Set(losses).size > 1;
  return x.length < 3 || !hasOrder(x) || !hasOrder(y) ? null : spearman(x, y);
}

/** The layer whose place differs most. */
function farthestApart([a, b]: readonly [Losses, Losses], { names, short }: Depth) {
  const [one, other] = [ranksOf(a), ranksOf(b)];
  const far = names.map((_, at) => Math.abs((one[at] ?? 0) - (other[at] ?? 0)));
  const at = far.indexOf(Math.max(...far));
  return far[at] > 0
    ? html`Farthest apart is <code>${short[at]}</code>: in place ${grouped(placeOf(one, at))} for A, ${grouped(placeOf(other, at))} for B.`
    : null;
}
