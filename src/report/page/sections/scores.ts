/** What several scorers say about the same layers in the same format. */
import type { ScoreComparison } from "../../document.ts";
import { layerCell, layerColumn } from "../cells.ts";
import { type Depth, depthMarks, depthScale, marginBottom, marginRight } from "../depth.ts";
import { figure } from "../figure.ts";
import { html } from "../html.ts";
import { counted, fixed, grouped, significant } from "../numbers.ts";
import type { Chart } from "../plots.ts";
import type { PageInput, Section } from "../section.ts";
import type { Cell } from "../table.ts";

/** One scorer's losses in the order of the layers, and what is said above its strip. */
export interface RankedScorer {
  readonly name: string;
  readonly unit: string;
  readonly losses: readonly (number | null)[];
  readonly text: string;
}

/** 0 for the layer with least loss to 1 for that with most; null where a scorer does not know the layer. */
export type Ranks = readonly (number | null)[];

export function scoresSection({ report, depth, pen }: PageInput): Section | null {
  const { scores } = report;
  if (!scores || scores.scorers.length < 2 || depth.names.length < 3) return null;
  const ranks = scores.scorers.map(({ losses }) => ranksOf(losses));
  const say = html`<p>${agreement(scores)}</p>
<p class="soft">All of them judged every layer in <code>${scores.format}</code>, the format most layers have. Those that need no further run of the model are compared.</p>`;
  const show = figure(pen, {
    panels: [{ chart: strips(scores.scorers.map(withText), ranks, depth) }],
    caption: `One strip per scorer, one cell per layer: the fuller the colour, the more the scorer fears for that layer among all. Correlations are Spearman's, with the scorer that decided. The table has the losses too, ${unitWords(scores)}.`,
    data: {
      caption: `Rank of each layer in ${scores.format}, 1 where the scorer expects most damage, with the loss it expects`,
      columns: [
        layerColumn,
        ...scores.scorers.map(({ name }) => ({ title: name, align: "right" }) as const),
      ],
      rows: depth.names.map((_, at) => [
        layerCell(depth, at),
        ...scores.scorers.map((scorer, row) => placeCell(scorer, ranks[row], at)),
      ]),
      sortable: true,
      hideCaption: true,
    },
  });
  return { id: "scores", title: "The scores beside each other", say, show };
}

const withText = (scorer: ScoreComparison["scorers"][number], row: number): RankedScorer => {
  const { name, rankCorrelation } = scorer;
  const text =
    row === 0
      ? `${name}, which decided`
      : `${name}, ${rankCorrelation === null ? "too few layers to correlate" : `rank correlation ${fixed(rankCorrelation, 2)}`}`;
  return { ...scorer, text };
};

/** 1 for the layer with most loss. */
export function placeOf(ranks: Ranks, at: number): number {
  const known = ranks.filter((share) => share !== null).length;
  return Math.round((1 - (ranks[at] ?? 0)) * (known - 1)) + 1;
}

/** A layer's place, and the loss that gave it: "3 (0.0123)". */
export function placeCell(
  { losses }: Pick<RankedScorer, "losses">,
  ranks: Ranks,
  at: number,
): Cell {
  const loss = losses[at];
  if (loss === null || loss === undefined) return { show: "–", order: 1e9 };
  const place = placeOf(ranks, at);
  return {
    show: html`${grouped(place)} <span class="soft">(${significant(loss)})</span>`,
    order: place,
  };
}

/** "in nats per token by a, in squared output error by b and c". */
function unitWords({ scorers }: ScoreComparison): string {
  const units = [...new Set(scorers.map(({ unit }) => unit))];
  const named = units.map((unit) => {
    const names = scorers.filter((scorer) => scorer.unit === unit).map(({ name }) => name);
    return `in ${unit} by ${names.join(" and ")}`;
  });
  return units.length === 1 ? `in ${units[0]}` : named.join(", ");
}

function agreement({ scorers }: ScoreComparison): string {
  const [own, ...others] = scorers;
  const known = others.flatMap(({ name, rankCorrelation }) =>
    rankCorrelation === null ? [] : [{ name, value: rankCorrelation }],
  );
  if (known.length === 0) return `${own.name} decided; the others know too few layers to compare.`;
  const sorted = [...known].sort((a, b) => b.value - a.value);
  const [nearest, farthest] = [sorted[0], sorted[sorted.length - 1]];
  const first = `${own.name} decided. Nearest to its order of the layers is ${nearest.name} (rank correlation ${fixed(nearest.value, 2)})`;
  return nearest === farthest
    ? `${first}.`
    : `${first}, farthest ${farthest.name} (${fixed(farthest.value, 2)}).`;
}

/** 0 for the layer with least loss to 1 for that with most; ties share the mean. null stays null. */
export function ranksOf(losses: readonly (number | null)[]): Ranks {
  const known = losses.filter((loss) => loss !== null).sort((a, b) => a - b);
  return losses.map((loss) => {
    if (loss === null) return null;
    const first = known.indexOf(loss);
    const last = known.lastIndexOf(loss);
    return known.length > 1 ? (first + last) / 2 / (known.length - 1) : 1;
  });
}

const rowHeight = 46;

export function strips(
  scorers: readonly RankedScorer[],
  ranks: readonly Ranks[],
  depth: Depth,
): Chart {
  const rows = scorers.map(({ text }, row) => ({ row, text }));
  const cells = ranks.flatMap((shares, row) =>
    shares.flatMap((share, at) => (share === null ? [] : [{ row, at, share }])),
  );
  type Cell = (typeof cells)[number];
  return {
    label: `Heat strips: ranks of ${counted(depth.names.length, "layer")} by ${scorers.map(({ name }) => name).join(", ")}.`,
    draw: (plot, size) => ({
      height: rows.length * rowHeight + marginBottom + 4,
      ...{ marginLeft: 2, marginRight, marginBottom, marginTop: 4 },
      x: depthScale(depth),
      y: { domain: [0, rows.length], reverse: true, axis: null },
      marks: [
        plot.rect(cells, {
          x1: "at",
          x2: ({ at }: Cell) => at + 1,
          y1: ({ row }: Cell) => row + 0.42,
          y2: ({ row }: Cell) => row + 0.9,
          fill: "var(--plan)",
          fillOpacity: ({ share }: Cell) => 0.06 + 0.94 * share,
          inset: depth.names.length <= 120 ? 0.5 : 0,
          title: ({ at, row }: Cell) => {
            const loss = scorers[row].losses[at] ?? 0;
            return `${depth.names[at]}\n${scorers[row].name}: ${significant(loss)} ${scorers[row].unit}`;
          },
        }),
        plot.text(rows, {
          text: "text",
          y: ({ row }: (typeof rows)[number]) => row + 0.2,
          frameAnchor: "left",
          textAnchor: "start",
          fill: "currentColor",
        }),
        depthMarks(plot, depth, size).slice(1),
      ],
      // Opacities are computed here, not scaled to the data.
      opacity: { type: "identity" },
    }),
  };
}
