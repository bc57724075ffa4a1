/**
 * The entry `bitloom/runtime`: sessions in a browser.
 * Invariant: nothing here imports a package or a module of Node, directly or through others.
 */
import { BitloomError } from "../core/errors.ts";
import { browserPlatform } from "../engine/platform/browser.ts";
import { type OpenBytesOptions, openModelBytes } from "../onnx/portable.ts";
import type { Runtime } from "./runtime.ts";
import { openSession, type SessionOptions, type WasmSession } from "./session/session.ts";

export { BitloomError, isBitloomError } from "../core/errors.ts";
export {
  type GeneratedToken,
  type GenerateOptions,
  type GenerationSession,
  generateTokens,
  type SamplingOptions,
} from "./generate/index.ts";
export { Tensor, type TensorLike } from "./session/tensor.ts";
export {
  type OrtModule,
  type OrtSession,
  type OrtTensor,
  onnxRuntimeFallback,
} from "./web-fallback.ts";
export type { Runtime, SessionOptions, WasmSession };

/** Options of `createSession` in a browser. */
export interface BrowserSessionOptions extends SessionOptions, OpenBytesOptions {
  /** Opens the runtime for nodes without a kernel: `onnxRuntimeFallback(ort)`. Without it such models are refused. */
  readonly fallback?: () => Promise<Runtime>;
}

/**
 * Opens a model on the WebAssembly kernels.
 *
 * @param model - URL of an .onnx file, or its bytes.
 * @throws as in Node; bad-model - the URL cannot be fetched.
 */
export async function createSession(
  model: string | URL | Uint8Array,
  options: BrowserSessionOptions = {},
): Promise<WasmSession> {
  const bytes = model instanceof Uint8Array ? model : await download(String(model));
  const label = model instanceof Uint8Array ? options.label : String(model);
  const opened = await openModelBytes(bytes, { ...options, ...(label !== undefined && { label }) });
  return openSession(opened, browserPlatform(), options.fallback, options);
}

async function download(url: string): Promise<Uint8Array> {
  const failed = (why: string, cause?: unknown) =>
    new BitloomError(
      "bad-model",
      `Cannot download "${url}": ${why}. Check the address.`,
      { file: url },
      { cause },
    );
  try {
    const response = await fetch(url);
    if (!response.ok) throw failed(`the server answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (error instanceof BitloomError) throw error;
    throw failed(error instanceof Error ? error.message : String(error), error);
  }
}
