/**
 * ONNX Runtime (native, Node) in worker threads: the reference runtime that calibration, scoring and evaluation use.
 * Every session runs on one thread, so results never depend on how many there are; parallel work opens
 * sessions on several workers.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { BitloomError } from "../core/errors.ts";
import type { Feeds } from "../core/feeds.ts";
import { encodeModel, type Model, saveModel } from "../onnx/index.ts";
import type { Runtime } from "./runtime.ts";

/** Models above this go to ONNX Runtime through a temporary file: protobuf messages end at 2 GB. */
const inMemoryLimitBytes = 1.5e9;

/**
 * Starts the worker threads.
 *
 * @param options.threads - number of workers; default 1.
 */
export function createRuntime(options: { readonly threads?: number } = {}): Runtime {
  const workers = Array.from({ length: Math.max(1, options.threads ?? 1) }, startWorker);
  let turn = 0;
  let sessionCount = 0;
  return {
    workers: workers.length,
    async open(model, sessionOptions = {}) {
      const worker = workers[(sessionOptions.worker ?? turn++) % workers.length];
      const session = sessionCount++;
      const names = await sendModel(worker, session, model, sessionOptions.optimize ?? "all");
      return {
        ...names,
        async run(feeds, fetch) {
          try {
            return (await worker.call({
              kind: "run",
              session,
              feeds,
              fetch: fetch ?? names.outputNames,
            })) as Feeds;
          } catch (error) {
            throw new BitloomError(
              "bad-data",
              `ONNX Runtime could not run the model: ${(error as Error).message}`,
              { input: Object.keys(feeds).join(", ") },
              { cause: error },
            );
          }
        },
        release: async () => void (await worker.call({ kind: "release", session })),
      };
    },
    close: async () => void (await Promise.all(workers.map((worker) => worker.end()))),
  };
}

async function sendModel(
  worker: Caller,
  session: number,
  model: Model,
  optimize: "all" | "none",
): Promise<{ inputNames: string[]; outputNames: string[] }> {
  const options = {
    executionProviders: ["cpu"],
    graphOptimizationLevel: optimize === "all" ? "all" : "disabled",
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 4, // errors are thrown; nothing is printed
  };
  const opening = (source: Uint8Array | string) =>
    worker.call({ kind: "open", session, model: source, options }) as Promise<{
      inputNames: string[];
      outputNames: string[];
    }>;
  try {
    if (model.fileBytes < inMemoryLimitBytes) return await opening(await encodeModel(model));
    const folder = await mkdtemp(join(tmpdir(), "bitloom-"));
    try {
      const path = join(folder, "model.onnx");
      await saveModel(model, path, { externalData: "always" });
      return await opening(path);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  } catch (error) {
    if (error instanceof BitloomError) throw error;
    throw new BitloomError(
      "bad-model",
      `ONNX Runtime could not load the model: ${(error as Error).message}`,
      { file: model.path ?? "(in memory)" },
      { cause: error },
    );
  }
}

interface Caller {
  call(request: unknown): Promise<unknown>;
  end(): Promise<void>;
}

function startWorker(): Caller {
  const worker = new Worker(new URL("./ort-worker.js", import.meta.url));
  worker.unref();
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let count = 0;
  const failAll = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    worker.unref();
  };
  worker.on("message", ({ id, result, error }: { id: number; result: unknown; error?: string }) => {
    const entry = waiting.get(id);
    waiting.delete(id);
    if (waiting.size === 0) worker.unref();
    if (error === undefined) entry?.resolve(result);
    else entry?.reject(new Error(error));
  });
  worker.on("error", failAll);
  worker.on("exit", () => failAll(new Error("the runtime's worker thread ended")));
  return {
    call(request) {
      return new Promise((resolve, reject) => {
        const id = count++;
        waiting.set(id, { resolve, reject });
        worker.ref();
        worker.postMessage({ id, request });
      });
    },
    end: async () => void (await worker.terminate()),
  };
}
