/**
 * onnxruntime-web as the fallback of browser sessions; the page hands its module over, nothing is imported here.
 */
import { BitloomError } from "../core/errors.ts";
import type { Feeds, TensorData } from "../core/feeds.ts";
import type { DType } from "../core/tensor.ts";
import { encodeModel } from "../onnx/portable.ts";
import type { Runtime } from "./runtime.ts";

/** What is used of its tensors. */
export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
}

/** What is used of an `InferenceSession` of onnxruntime-common. */
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs the model once. */
  run(feeds: Record<string, OrtTensor>, fetches: string[]): Promise<Record<string, OrtTensor>>;
  /** Frees the memory. */
  release(): Promise<void>;
}

/** What is used of onnxruntime-web (or any module with the interface of onnxruntime-common). */
export interface OrtModule {
  readonly InferenceSession: {
    /** Opens a model. */
    create(model: Uint8Array, options?: object): Promise<OrtSession>;
  };
  readonly Tensor: new (type: never, data: never, dims: readonly number[]) => OrtTensor;
}

/**
 * `createSession(url, { fallback: onnxRuntimeFallback(ort) })`. Its sessions are released when that session is.
 *
 * @throws bad-model, bad-data - when it is used: onnxruntime-web refuses the segment, or the values it is run with.
 */
export function onnxRuntimeFallback(ort: OrtModule): () => Promise<Runtime> {
  return async () => {
    const sessions = new Set<OrtSession>();
    const release = async (session: OrtSession) => {
      if (sessions.delete(session)) await session.release();
    };
    return {
      workers: 1,
      async open(model) {
        const session = await ort.InferenceSession.create(await encodeModel(model), {
          executionProviders: ["wasm"],
        }).catch((cause: unknown) => {
          const file = model.path ?? "(in memory)";
          throw new BitloomError("bad-model", failure("load", cause), { file }, { cause });
        });
        sessions.add(session);
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          async run(feeds, fetch = session.outputNames) {
            try {
              return await runOn(ort, session, feeds, fetch);
            } catch (cause) {
              const input = Object.keys(feeds).join(", ");
              throw new BitloomError("bad-data", failure("run", cause), { input }, { cause });
            }
          },
          release: () => release(session),
        };
      },
      close: async () => void (await Promise.all([...sessions].map(release))),
    };
  };
}

async function runOn(
  ort: OrtModule,
  session: OrtSession,
  feeds: Feeds,
  fetch: readonly string[],
): Promise<Feeds> {
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
  );
}

function failure(verb: "load" | "run", cause: unknown): string {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return `onnxruntime-web could not ${verb} the part of the model without kernels: ${reason.trim().replace(/\.*$/, ".")} Check that its version knows the operators.`;
}
