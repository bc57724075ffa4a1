/** Running models: the interface, ONNX Runtime behind it, losses compiled into graphs, the loop over a data set. */
export type { ComparedModel, Loss } from "./loss.ts";
export { createRuntime } from "./ort.ts";
export { type BatchSource, type RunBatches, runBatches } from "./run-batches.ts";
export type { Runtime, Session, SessionOptions } from "./runtime.ts";
