/** What a run decided and measured: the JSON document, the same as a page, and two of them beside each other. */
export { type Comparison, compareReports } from "./compare/comparison.ts";
export { type ComparisonRow, comparisonRows } from "./compare/facts.ts";
export { renderComparison } from "./compare/render.ts";
export type {
  DecisionReport,
  EnvironmentReport,
  ErrorGrowthReport,
  GateReport,
  LanguageQualityReport,
  LayerStep,
  OutlierReport,
  OutputQualityReport,
  PlanPoint,
  PropagatedLayer,
  PropagationReport,
  QualityReport,
  QuantizeReport,
  ReportedLayer,
  ScoreComparison,
} from "./document.ts";
export { jsonDb, reportQuality } from "./quality.ts";
export { readReport } from "./read.ts";
export { renderReport } from "./render.ts";
