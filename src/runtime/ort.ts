/**
 * ONNX Runtime (native, Node) in worker threads: the reference runtime that calibration, scoring and evaluation use.
 * Parallel work opens sessions on several workers, each on one thread unless asked for more, so that results do not
 * depend on how many there are.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { BitloomError, invariant } from "../core/errors.ts";
import type { Feeds, FeedTensor } from "../core/feeds.ts";
import { namedRole } from "../core/language-model.ts";
import { encodeModel, type Model, saveModel } from "../onnx/index.ts";
import type { ChainedRun, Session, SessionOptions, WorkerRuntime } from "./runtime.ts";

/** Version of the installed onnxruntime-node: another one may round differently. */
export function onnxRuntimeVersion(): string {
  const path = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { readonly version: string }).version;
}

/**
 * Models above this go to ONNX Runtime through temporary files, whose weights it maps: as a message they would exist
 * there three times until the session is open, and messages end at 2 GB.
 */
export const inMemoryLimitBytes = 2 ** 26;

/**
 * Worker threads start when they are first needed.
 *
 * @param options.threads - number of workers; default 1.
 */
export function createRuntime(options: { readonly threads?: number } = {}): WorkerRuntime {
  const workers = Array.from({ length: Math.max(1, options.threads ?? 1) }, createCaller);
  const places = new WeakMap<Session, { readonly worker: Caller; readonly id: number }>();
  let turn = 0;
  let sessionCount = 0;
  const runChain = async (runs: readonly ChainedRun[]) => {
    const found = runs.map(({ session }) => places.get(session));
    const worker = found[0]?.worker;
    invariant(
      worker && found.every((place) => place?.worker === worker),
      "a chain runs sessions of one worker of this runtime",
    );
    const chain = runs.map(({ feeds, fetch, links }, i) => ({
      session: found[i]?.id,
      feeds,
      fetch,
      links: [...links].map(([input, { run, output }]) => ({ input, run, output })),
    }));
    return (await worker.call({ kind: "run", runs: chain })) as readonly Feeds[];
  };
  return {
    workers: workers.length,
    runChain: (runs) =>
      runChain(runs).catch((error) => {
        throw couldNotRun("the model", runs, error);
      }),
    async open(model, sessionOptions = {}) {
      const worker = workers[(sessionOptions.worker ?? turn++) % workers.length];
      const session = sessionCount++;
      const sent = await sendModel(worker, session, model, sessionOptions);
      const { removeFiles, ...names } = sent;
      let released: Promise<void> | undefined;
      const opened: Session = {
        ...names,
        async run(feeds, fetch) {
          const wanted = fetch ?? names.outputNames;
          const runs = [{ session: opened, feeds, fetch: wanted, links: new Map() }];
          const [results] = await runChain(runs).catch((error) => {
            throw couldNotRun(label(model), runs, error);
          });
          return results;
        },
        release() {
          released ??= worker.release(session).then(removeFiles);
          return released;
        },
      };
      places.set(opened, { worker, id: session });
      return opened;
    },
    close: async () => void (await Promise.all(workers.map((worker) => worker.end()))),
  };
}

function couldNotRun(what: string, runs: readonly ChainedRun[], cause: unknown): unknown {
  if (cause instanceof BitloomError) return cause;
  const fed = new Map(runs.flatMap(({ feeds }) => Object.entries(feeds)));
  return new BitloomError(
    "bad-data",
    `ONNX Runtime could not run ${what}: ${sentence(cause)} ${adviceOn(fed)}`,
    { input: [...fed.keys()].join(", ") },
    { cause },
  );
}

/** Lengths and sizes that a graph leaves open are not always free. */
function adviceOn(fed: ReadonlyMap<string, FeedTensor>): string {
  const roles = [...fed].map(([name, tensor]) => ({
    name,
    ...tensor,
    role: namedRole({ name, ...tensor }),
  }));
  const ids = roles.find(({ role }) => role === "ids");
  if (ids) {
    return `It was fed "${ids.name}" ${sizeOf(ids)}: a model with fewer positions needs a smaller --window.`;
  }
  const image = roles.find(
    ({ dtype, shape, role }) => shape.length === 4 && /^float/.test(dtype) && !role,
  );
  if (image) {
    return `It was fed "${image.name}" ${sizeOf(image)}: give data of the size that the model was made for with --calibration.`;
  }
  return "Check names, types and shapes of its inputs.";
}

const sizeOf = ({ dtype, shape }: FeedTensor) => `${dtype} [${shape.join(", ")}]`;

const label = (model: Model) => (model.path === undefined ? "the model" : `"${model.path}"`);
/** ONNX Runtime ends some messages with a full stop and some without. */
const sentence = (error: unknown) => (error as Error).message.trim().replace(/\.*$/, ".");

interface SentModel {
  readonly inputNames: string[];
  readonly outputNames: string[];
  /** To be called once the session is gone, where its files could not be removed before. */
  readonly removeFiles?: () => Promise<void>;
}

async function sendModel(
  worker: Caller,
  session: number,
  model: Model,
  { optimize = "all", threads = 1 }: SessionOptions,
): Promise<SentModel> {
  const options = {
    executionProviders: ["cpu"],
    graphOptimizationLevel: optimize === "all" ? "all" : "disabled",
    // An arena keeps the most that a session ever needed: with several models open, of large vocabularies, gigabytes.
    enableCpuMemArena: false,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Threads that wait for work sleep: other workers and the linear algebra need the cores.
    extra: { session: { intra_op: { allow_spinning: "0" } } },
    logSeverityLevel: 4, // errors are thrown; nothing is printed
  };
  const opening = (source: Uint8Array<ArrayBuffer> | string) =>
    worker.call(
      { kind: "open", session, model: source, options },
      typeof source === "string" ? [] : [source.buffer],
    ) as Promise<SentModel>;
  try {
    if (model.fileBytes < inMemoryLimitBytes) return await opening(await encodeModel(model));
    const folder = await mkdtemp(join(tmpdir(), "bitloom-"));
    const remove = () => rm(folder, { recursive: true, force: true });
    try {
      const path = join(folder, "model.onnx");
      await saveModel(model, path, { externalData: "always" });
      const names = await opening(path);
      // Windows removes no file that is mapped: there it goes when the session does.
      const isRemoved = await remove().then(
        () => true,
        () => false,
      );
      return isRemoved ? names : { ...names, removeFiles: remove };
    } catch (error) {
      await remove();
      throw error;
    }
  } catch (error) {
    if (error instanceof BitloomError) throw error;
    throw new BitloomError(
      "bad-model",
      `ONNX Runtime could not load ${label(model)}: ${sentence(error)}`,
      { file: model.path ?? "(in memory)" },
      { cause: error },
    );
  }
}

interface Caller {
  /** Rejects with a plain Error when the request fails, with a BitloomError when no worker answers any more. */
  call(request: unknown, transferred?: readonly ArrayBuffer[]): Promise<unknown>;
  /** A worker that has ended holds no sessions: nothing to do then. */
  release(session: number): Promise<void>;
  end(): Promise<void>;
}

/**
 * A worker thread, started by its first request. It is never terminated from outside: a thread that is stopped inside
 * ONNX Runtime's native code aborts the whole process. It ends by itself after the requests before.
 */
function createCaller(): Caller {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let running: { readonly worker: Worker; readonly exited: Promise<void> } | undefined;
  let gone: BitloomError | undefined;
  let count = 0;
  const leave = (error: BitloomError) => {
    gone ??= error;
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
  };
  const start = () => {
    // ONNX Runtime 1.30 sends usage data to Microsoft and leaves logs of that in the folder of temporary files. A library
    // that says nothing of a network has none; who wants it sets the variable to 0. Workers cannot set it themselves.
    process.env.ORT_DISABLE_TELEMETRY ??= "1";
    // The process's own flags (--input-type with -e, loaders) may not fit a worker, which needs none.
    const worker = new Worker(new URL("./ort-worker.js", import.meta.url), { execArgv: [] });
    worker.on("message", (answer: { id: number; result: unknown; error?: string }) => {
      const entry = waiting.get(answer.id);
      waiting.delete(answer.id);
      // While it is ending, its exit is awaited: an unreferenced worker would let the process end before.
      if (waiting.size === 0 && !gone) worker.unref();
      if (answer.error === undefined) entry?.resolve(answer.result);
      else entry?.reject(new Error(answer.error));
    });
    worker.on("error", (error) => leave(noAnswer(`its worker thread failed: ${error.message}`)));
    const exited = new Promise<void>((resolve) => {
      worker.on("exit", () => {
        leave(noAnswer("its worker thread has ended"));
        resolve();
      });
    });
    return { worker, exited };
  };
  const caller: Caller = {
    call(request, transferred = []) {
      return new Promise((resolve, reject) => {
        if (gone) return reject(gone);
        running ??= start();
        const id = count++;
        running.worker.postMessage({ id, request }, transferred);
        waiting.set(id, { resolve, reject });
        running.worker.ref();
      });
    },
    async release(session) {
      if (!gone) await caller.call({ kind: "release", session });
    },
    async end() {
      const closed = noAnswer("the runtime was closed");
      if (!running) return leave(closed);
      const ending = !gone;
      gone ??= closed;
      if (ending) {
        running.worker.ref();
        running.worker.postMessage("end");
      }
      await running.exited;
    },
  };
  return caller;
}

function noAnswer(why: string): BitloomError<"kernel"> {
  return new BitloomError(
    "kernel",
    `ONNX Runtime does not answer: ${why}. Use it before close() only; check that onnxruntime-node is installed for this platform and that memory suffices.`,
    { kernel: "onnxruntime-node" },
  );
}
