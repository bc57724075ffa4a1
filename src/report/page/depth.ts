/**
 * The depth of a network as a common axis: layers in the order of the graph, block after block. Every chart along the
 * depth has it, so that they can be read across.
 */
import type { Markish } from "@observablehq/plot";
import { blockLabels, shortNames } from "./names.ts";
import { type ChartSize, everyLabelThatFits, type Plot } from "./plots.ts";

export interface Depth {
  readonly names: readonly string[];
  /** Names without what they share. */
  readonly short: readonly string[];
  /** Stretches of layers of one block; `label` is empty for layers outside of blocks. */
  readonly stretches: readonly {
    readonly start: number;
    readonly end: number;
    readonly label: string;
  }[];
  /** Labels are numbers, not names. */
  readonly hasNumbers: boolean;
}

interface PlacedLayer {
  readonly name: string;
  readonly block: string | null;
}

export function depthOf(layers: readonly PlacedLayer[]): Depth {
  const names = layers.map(({ name }) => name);
  const blocks = [...new Set(layers.flatMap(({ block }) => block ?? []))];
  const { hasNumbers, labels } = blockLabels(blocks);
  const stretches: { start: number; end: number; label: string; block: string | null }[] = [];
  for (const [at, { block }] of layers.entries()) {
    const last = stretches.at(-1);
    if (last && last.block === block) last.end = at + 1;
    else {
      const label = block === null ? "" : labels[blocks.indexOf(block)];
      stretches.push({ start: at, end: at + 1, label, block });
    }
  }
  return { names, short: shortNames(names), stretches, hasNumbers };
}

/** Left of the first layer, for the values of the other axis; the same in every chart. */
export const marginLeft = 50;
export const marginRight = 6;
/** Below the last value, for the labels of blocks. */
export const marginBottom = 34;

/** Pixels that one layer has. */
export const layerWidth = ({ names }: Depth, { width }: ChartSize): number =>
  (width - marginLeft - marginRight) / names.length;

export const depthScale = ({ names }: Depth) =>
  ({ type: "linear", domain: [0, names.length], axis: null }) as const;

/** Where the middle of a layer lies on the axis. */
export const middle = (at: number): number => at + 0.5;

/** Pixels between the borders of blocks, at least: more of them would hide the marks. */
const leastStretch = 10;

/** Borders of blocks, their labels, and what the axis shows. */
export function depthMarks(plot: Plot, depth: Depth, size: ChartSize): Markish[] {
  const { stretches, names, hasNumbers } = depth;
  const step = layerWidth(depth, size);
  const labelled = stretches.filter(({ label }) => label !== "");
  const labels = everyLabelThatFits(
    labelled.map(({ start, end, label }) => ({
      at: ((start + end) / 2) * step,
      text: label,
      x: (start + end) / 2,
    })),
  );
  const count = labelled.length;
  const by = count === 0 ? "" : hasNumbers ? ", numbered by block" : ", named by block";
  const axis = names.length > 1 ? `${names.length} layers in order${by} →` : "the only layer";
  const below = { frameAnchor: "bottom", lineAnchor: "top", fill: "var(--soft)" } as const;
  return [
    step * names.length >= leastStretch * stretches.length
      ? plot.ruleX(
          stretches.slice(1).map(({ start }) => start),
          { stroke: "var(--line)" },
        )
      : null,
    plot.text(labels, { ...below, x: "x", text: "text", dy: 5 }),
    plot.text([axis], {
      ...below,
      frameAnchor: "bottom-left",
      text: (line: string) => line,
      dy: count > 0 ? 20 : 6,
    }),
  ];
}
