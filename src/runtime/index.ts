/** Running models: the interface, ONNX Runtime behind it, losses compiled into graphs, the loop over a data set. */
export type { ComparedModel, Loss } from "./loss.ts";
export { openAll, type WantedSession } from "./open-all.ts";
export { createRuntime } from "./ort.ts";
export {
  type BatchSource,
  type InOrder,
  inOrder,
  type RunBatches,
  runBatches,
} from "./run-batches.ts";
export type { Runtime, Session, SessionOptions } from "./runtime.ts";
