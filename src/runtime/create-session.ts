/**
 * Sessions in Node: models from files, threads of worker_threads, ONNX Runtime behind what has no kernel.
 */

import { nodePlatform } from "../engine/platform/node.ts";
import { openModel } from "../onnx/index.ts";
import type { Model } from "../onnx/types.ts";
import { createRuntime } from "./ort.ts";
import type { Runtime } from "./runtime.ts";
import { openSession, type SessionOptions, type WasmSession } from "./session/session.ts";

/** Options of `createSession`. */
export interface CreateSessionOptions extends SessionOptions {
  /** Opens the runtime for nodes without a kernel; default onnxruntime-node. "none": such models are refused. */
  readonly fallback?: (() => Promise<Runtime>) | "none";
}

/**
 * Opens a model on the WebAssembly kernels. Quantized products run on their packed weights at every width; nodes
 * without a kernel run on ONNX Runtime, with a notice.
 *
 * @param model - path of an .onnx file, its bytes, or an opened model.
 * @throws bad-model - no readable model, or corrupt packed weights; unsupported - larger than 4 GiB of WebAssembly
 *   memory, or nodes without a kernel where there is no fallback; kernel - no SIMD or no memory.
 *
 * Cost: weights are packed once, in time and memory linear in their size.
 */
export async function createSession(
  model: string | Uint8Array | Model,
  options: CreateSessionOptions = {},
): Promise<WasmSession> {
  const isSource = typeof model === "string" || model instanceof Uint8Array;
  const { fallback = async () => createRuntime() } = options;
  return openSession(
    isSource ? await openModel(model) : model,
    nodePlatform,
    fallback === "none" ? undefined : fallback,
    options,
  );
}
