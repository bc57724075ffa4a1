/**
 * A target decides how each format appears in the graph. It answers before scoring whether it can express a format,
 * so no plan is unrepresentable.
 */
import type { WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { Form } from "./form.ts";

/** Decides how formats appear in the graph. */
export interface Target {
  readonly summary: string;
  readonly source: string;
  /** How scales are stored. */
  readonly scaleType: "float32" | "float16";
  /** Formats offered by default beside the usual grid. */
  readonly extraFormats?: readonly WeightFormat[];
  /** `accuracy_level` of MatMulNBits; undefined leaves it out. */
  readonly accuracyLevel: number | undefined;
  /** The form that holds this format, or the reason why there is none. */
  form(layer: Layer, format: WeightFormat, opset: number): Form | string;
}

/** True for weights of convolutions, which are unpacked in front of the node: the float kernel does the rest. */
export const convolves = (layer: Layer) => layer.uses.some((use) => use.opType === "Conv");
export const gathers = (layer: Layer) => layer.uses.some((use) => use.opType === "Gather");
export const multiplies = (layer: Layer) => layer.uses.some((use) => use.opType !== "Gather");
