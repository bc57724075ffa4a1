/** What a run decided and measured: the JSON document and its text form. */
export type {
  GateReport,
  LanguageQualityReport,
  OutputQualityReport,
  QualityReport,
  QuantizeReport,
  ReportedEstimate,
  ReportedLayer,
} from "./document.ts";
export { jsonDb, reportQuality } from "./quality.ts";
