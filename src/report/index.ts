/** What a run decided and measured: the JSON document and its text form. */
export type {
  DecisionReport,
  EnvironmentReport,
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
