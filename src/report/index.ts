/** What a run decided and measured: the JSON document and its text form. */
export type {
  GateReport,
  LanguageQualityReport,
  OutputQualityReport,
  PropagatedLayer,
  PropagationReport,
  QualityReport,
  QuantizeReport,
  ReportedEstimate,
  ReportedLayer,
} from "./document.ts";
export { jsonDb, reportQuality } from "./quality.ts";
