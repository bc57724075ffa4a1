/** Running models: the interface, ONNX Runtime behind it, losses compiled into graphs, the loop over a data set. */
export { type CreateSessionOptions, createSession } from "./create-session.ts";
export {
  type GeneratedToken,
  type GenerateOptions,
  type GenerationSession,
  generateTokens,
  type SamplingOptions,
} from "./generate/index.ts";
export type { ComparedModel, Loss } from "./loss.ts";
export { openAll, type WantedSession } from "./open-all.ts";
export { createRuntime, inMemoryLimitBytes, onnxRuntimeVersion } from "./ort.ts";
export {
  aheadOf,
  type BatchSource,
  type InOrder,
  inOrder,
  type RunBatches,
  runBatches,
} from "./run-batches.ts";
export type {
  ChainedRun,
  Runtime,
  Session,
  SessionOptions,
  WorkerRuntime,
} from "./runtime.ts";
export {
  defaultMemoryLimitBytes,
  keptLimitBytes,
  type LinkedModel,
  leastCopies,
  planCuts,
  type RunSegments,
  runSegments,
  segmentBytes,
  threadsFor,
  ValueStore,
  workersFor,
} from "./segments/index.ts";
export type { SessionOptions as WasmSessionOptions, WasmSession } from "./session/session.ts";
export { Tensor, type TensorLike } from "./session/tensor.ts";
