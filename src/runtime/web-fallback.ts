/**
 * onnxruntime-web as the fallback of browser sessions; the page hands its module over, nothing is imported here.
 */
import type { Feeds, TensorData } from "../core/feeds.ts";
import type { DType } from "../core/tensor.ts";
import { encodeModel } from "../onnx/portable.ts";
import type { Runtime } from "./runtime.ts";

interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
}

interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, OrtTensor>, fetches: string[]): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** What is used of onnxruntime-web (or any module with the interface of onnxruntime-common). */
export interface OrtModule {
  readonly InferenceSession: { create(model: Uint8Array, options?: object): Promise<OrtSession> };
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => OrtTensor;
}

/** `createSession(url, { fallback: onnxRuntimeFallback(ort) })`. */
export function onnxRuntimeFallback(ort: OrtModule): () => Promise<Runtime> {
  return async () => ({
    workers: 1,
    async open(model) {
      const session = await ort.InferenceSession.create(await encodeModel(model), {
        executionProviders: ["wasm"],
      });
      return {
        inputNames: session.inputNames,
        outputNames: session.outputNames,
        async run(feeds, fetch = session.outputNames) {
          const entries = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
            name,
            new ort.Tensor(dtype as never, data as never, shape),
          ]);
          const results = await session.run(Object.fromEntries(entries), [...fetch]);
          return Object.fromEntries(
            Object.entries(results).map(([name, { type, dims, data }]) => [
              name,
              { dtype: type as DType, shape: [...dims], data: data as TensorData },
            ]),
          ) satisfies Feeds;
        },
        release: () => session.release(),
      };
    },
    close: async () => undefined,
  });
}
