/** A chart along the depth of the network: values on the left, blocks below, what is measured between. */
import type { Markish, PlotOptions } from "@observablehq/plot";
import { type ValueAxis, valueMarks } from "./axes.ts";
import {
  type Depth,
  depthMarks,
  depthScale,
  layerWidth,
  marginBottom,
  marginLeft,
  marginRight,
} from "./depth.ts";
import type { Chart, Plot } from "./plots.ts";

export interface DepthChart {
  /** What a screen reader says instead. */
  readonly label: string;
  readonly height: number;
  /** Scale of the values. */
  readonly y: NonNullable<PlotOptions["y"]>;
  readonly values: ValueAxis;
  /** @param room - pixels that one layer has. */
  marks(plot: Plot, room: number): Markish;
}

export const depthChart = (
  depth: Depth,
  { label, height, y, values, marks }: DepthChart,
): Chart => ({
  label,
  draw: (plot, size) => ({
    height,
    ...{ marginLeft, marginRight, marginBottom, marginTop: 26 },
    x: depthScale(depth),
    y: { ...y, axis: null },
    marks: [
      valueMarks(plot, values),
      depthMarks(plot, depth, size),
      marks(plot, layerWidth(depth, size)),
    ],
  }),
});
