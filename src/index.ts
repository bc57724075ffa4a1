/**
 * The public API of bitloom; the only module users import. What is exported here follows semver, everything else is
 * internal. `quantize` does the whole job. `inspectModel`, `calibrateModel`, `scoreModel`, `planFormats` and
 * `evaluateFiles` do one stage on files, as the commands do; the functions they are made of work on objects:
 * `openModel`, `findLayers`, `openDataset`, `calibrate`, `scoreLayers`, `allocateBits`, `quantizeWeight`,
 * `rewriteModel`, `evaluateModels`, `saveModel`. Every method is an entry of a registry or an object of your own.
 */

// Allocation: one format per layer inside a budget.
export {
  type AllocateInput,
  type AllocateOptions,
  type Allocator,
  type AllocatorName,
  allocateBits,
  allocators,
  type Budget,
  formatBytes,
  type Pin,
  parseBudget,
  parsePin,
  parsePlan,
  serializePlan,
  type UniformPlan,
  uniformPlans,
} from "./allocate/index.ts";
// What the types above are made of.
export type { AnyArray, ArrayStore, StoredArray } from "./calibrate/array-store.ts";
export type { SplitName, SplitSizes, Splits } from "./calibrate/data/splits.ts";
// Data and the statistics collected on it.
export {
  type CalibrateOptions,
  calibrate,
  describeProtocol,
  type EncodePromptOptions,
  encodePrompt,
  loadTokenizer,
  type NeededStats,
  type OpenDatasetOptions,
  openDataset,
  protocols,
  splitDataset,
  statistics,
  streamText,
  type TextStream,
  type TextTokenizer,
} from "./calibrate/index.ts";
export type { Probe, Statistic, StatisticContext } from "./calibrate/statistic.ts";
// Linear algebra on several threads, for the stages that take one.
export type {
  Algebra,
  FactorOptions,
  FeedbackInput,
  FeedbackResult,
  GridFit,
  GridSet,
  HessianFactor,
} from "./core/algebra.ts";
export type {
  Corrected,
  CorrectedTarget,
  CorrectInput,
  CorrectionNeed,
  CorrectOptions,
  CorrectProblem,
  LayerObjective,
  ObjectiveChange,
  StreamGrams,
} from "./core/correction.ts";
export type { Batch, BosOption, Dataset, Protocol, TokenWindow } from "./core/dataset.ts";
export { BitloomError, type ErrorCode, type ErrorDetails, isBitloomError } from "./core/errors.ts";
// Failures, notices, progress.
export type { Estimate } from "./core/estimate.ts";
export type { Event, Notice, RunOptions } from "./core/events.ts";
export type { Feeds, FeedTensor, TensorData } from "./core/feeds.ts";
export { float16Format, float32Format, parseFormat, type WeightFormat } from "./core/format.ts";
export type { DeclaredInput } from "./core/language-model.ts";
export type { ConvWindow, FloatType, Layer, LayerId, LayerUse, SkippedNode } from "./core/layer.ts";
export type { Method, QuantizeOptions as QuantizerOptions } from "./core/method.ts";
export type { RunNeeds } from "./core/needs.ts";
export type {
  BitPlan,
  LayerAlternatives,
  LayerScore,
  PlannedLayer,
  PlannedQuantization,
} from "./core/plan.ts";
export { dequantize, type QuantizedTensor } from "./core/quantized.ts";
export type { LossProbe, ProbeJob, ScorerWork } from "./core/score.ts";
export {
  defineScorer,
  type LayerLosses,
  type ScoreCandidate,
  type ScoreInput,
  type Scorer,
} from "./core/score.ts";
export type { Block, LayerStats, StatName, StatValues } from "./core/stats.ts";
export type { DType, dtypes, Matrix } from "./core/tensor.ts";
// Weights against the errors of the layers before.
export {
  type Correction,
  type CorrectionName,
  corrections,
  correctWeight,
} from "./correct/index.ts";
// Comparing models.
export {
  chooseLoss,
  type EvaluateOptions,
  evaluateModels,
  type LanguageQuality,
  lossOf,
  type OutputQuality,
  pairedDifference,
  type Quality,
} from "./evaluate/index.ts";
export type { ConstantWeight } from "./layers/constant.ts";
// Layers of a graph, as W [N, K].
export { type FoundLayers, findBlocks, findLayers, layerKinds } from "./layers/index.ts";
export type { LayerKind, LayerMatch } from "./layers/kind.ts";
export type { Vector } from "./math/metrics.ts";
export { spearman } from "./math/metrics.ts";
// Models: open, save.
export {
  type Graph,
  type Model,
  openModel,
  type SavedFiles,
  type SaveOptions,
  saveModel,
} from "./onnx/index.ts";
export type { GraphTap } from "./onnx/tap.ts";
export type {
  Attribute,
  FunctionSpec,
  ModelEditor,
  Node,
  NodeSpec,
  TensorSource,
  ValueInfo,
} from "./onnx/types.ts";
export { type AlgebraOptions, openAlgebra } from "./pipeline/algebra.ts";
// Files that stages leave for each other.
export {
  type CheckOutputsOptions,
  checkOutputs,
  loadPlan,
  savePlan,
  type WriteFileOptions,
  writeText,
} from "./pipeline/artefact.ts";
// The stages on files.
export {
  type CalibrationOptions,
  type CalibrationReport,
  calibrateModel,
} from "./pipeline/calibration.ts";
export {
  type EvaluateFileOptions,
  type EvaluationReport,
  evaluateFiles,
} from "./pipeline/evaluation.ts";
export {
  type GenerateTextOptions,
  type GenerationReport,
  generateText,
} from "./pipeline/generation.ts";
export {
  type InspectedLayer,
  type InspectOptions,
  inspectModel,
  type ModelInspection,
  type PlanSize,
} from "./pipeline/inspect.ts";
// Experiments: many scorers and plans on one model.
export { type Lab, openLab, type SequentialPlan } from "./pipeline/lab.ts";
export {
  loadMeasurements,
  type MeasuredLayer,
  type Measurements,
  type PlanOptions,
  planFormats,
  type ScoreOptions,
  scoreModel,
} from "./pipeline/measurements.ts";
export type {
  QuantizePipelineOptions as QuantizeOptions,
  StageOptions,
} from "./pipeline/options.ts";
export { loadReport, saveReport } from "./pipeline/report-file.ts";
export {
  type CollectedStatistics,
  loadStatistics,
  saveStatistics,
} from "./pipeline/statistics-file.ts";
export { defaultFormats, parseFormats } from "./pipeline/subject.ts";
// The whole job.
export { type QuantizeResult, quantize } from "./pipeline.ts";
// Weights to codes and scales.
export {
  type QuantizeInput,
  type Quantizer,
  type QuantizerName,
  quantizers,
  quantizeWeight,
} from "./quantize/index.ts";
export type { ChangedLayer, ComparedLayer, ComparedRun } from "./report/compare/comparison.ts";
export type { LayerStep, OutlierReport, PlanPoint, PropagatedLayer } from "./report/document.ts";
// What was decided and measured.
export {
  type Comparison,
  type ComparisonRow,
  compareReports,
  comparisonRows,
  type DecisionReport,
  type EnvironmentReport,
  type ErrorGrowthReport,
  type GateReport,
  type LanguageQualityReport,
  type OutputQualityReport,
  type PropagationReport,
  type QualityReport,
  type QuantizeReport,
  type ReportedLayer,
  renderComparison,
  renderReport,
  type ScoreComparison,
} from "./report/index.ts";
export type { Form, FormContext, StoredTensor, WeightSource } from "./rewrite/form.ts";
// Quantized layers as graph nodes.
export {
  type QuantizedLayer,
  type RewriteOptions,
  rewriteModel,
  type Target,
  type TargetName,
  targets,
} from "./rewrite/index.ts";
// Running models: on the WebAssembly kernels, or on ONNX Runtime as the stages do.
export {
  type CreateSessionOptions,
  createRuntime,
  createSession,
  type GeneratedToken,
  type GenerateOptions,
  type GenerationSession,
  generateTokens,
  type Runtime,
  type SamplingOptions,
  type Session,
  Tensor,
  type TensorLike,
  type WasmSession,
} from "./runtime/index.ts";
export type { ComparedModel, Loss } from "./runtime/loss.ts";
export type {
  ChainedRun,
  SessionOptions as RuntimeSessionOptions,
  WorkerRuntime,
} from "./runtime/runtime.ts";
// Predicted loss of each layer in each format.
export { type ScorerName, scoreLayers, scorers } from "./score/index.ts";
export { version } from "./version.ts";
