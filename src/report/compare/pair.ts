/** What every section of a comparison is made from. */
import type { QuantizeReport } from "../document.ts";
import type { Depth } from "../page/depth.ts";
import type { Pen } from "../page/plots.ts";
import type { Comparison } from "./comparison.ts";

export interface PairInput {
  readonly a: QuantizeReport;
  readonly b: QuantizeReport;
  readonly comparison: Comparison;
  /** Of the layers of both. */
  readonly depth: Depth;
  readonly pen: Pen;
}
