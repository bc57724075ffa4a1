/**
 * An open model that runs on the kernels: the shape of onnxruntime-common's `InferenceSession`.
 * Invariant: runs of one session follow one another; what a run returns belongs to the caller.
 */
import { availableTiers, type Tiers } from "../../../native/index.ts";
import { BitloomError } from "../../core/errors.ts";
import type { Event } from "../../core/events.ts";
import { Engine } from "../../engine/engine.ts";
import type { Platform } from "../../engine/platform/platform.ts";
import { maximumThreads } from "../../engine/threads.ts";
import type { Model, ValueInfo } from "../../onnx/types.ts";
import { cachePairs } from "./caches.ts";
import { Fallback, type OpenFallback } from "./fallback.ts";
import { type BuiltProgram, buildProgram } from "./open.ts";
import { feedOf, type HostTensor, hostTensor, isStored, numbersOfBytes } from "./storage.ts";
import { readFeeds, type Tensor, type TensorLike, tensorOf } from "./tensor.ts";

/** Options of sessions everywhere. */
export interface SessionOptions {
  /** Threads that run kernels; default one per core, at most 4. */
  readonly threads?: number;
  /**
   * "exact": activations of quantized products have 16 bits, relative error below 5e-5. "fast" (default): 8 bits where
   * this engine multiplies them faster, relative error of a product below 1 %.
   */
  readonly precision?: "exact" | "fast";
  /**
   * "internal": key/value caches stay in the session from run to run; their inputs are not fed and their outputs not
   * returned. "external" (default): they are ordinary inputs and outputs.
   */
  readonly caches?: "internal" | "external";
  /** Told which nodes have no kernel, and why there is one thread only. */
  readonly onEvent?: (event: Event) => void;
}

/** A model on the WebAssembly kernels, in the shape of an `InferenceSession`. */
export interface WasmSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueInfo[];
  readonly outputMetadata: readonly ValueInfo[];
  /** True when caches stay in the session from run to run. */
  readonly carriesCaches: boolean;
  /** Nodes after fusion, and how many of them the fallback runs. */
  readonly nodes: { readonly total: number; readonly fallback: number };
  /** Time in runs so far, and the part of it in the fallback. */
  readonly elapsedMs: { readonly total: number; readonly fallback: number };
  /** WebAssembly memory in use: weights, caches, activations of the largest run so far. */
  readonly memoryBytes: number;
  /**
   * Runs the graph.
   *
   * @param feeds - every input by name; arrays must not change before the run has ended.
   * @param fetches - the outputs to compute, all by default; what they do not need is not run.
   * @throws bad-data - feeds that do not fit the inputs, or each other.
   */
  run(
    feeds: Readonly<Record<string, TensorLike>>,
    fetches?: readonly string[] | Readonly<Record<string, unknown>>,
  ): Promise<Record<string, Tensor>>;
  /** Empties internal caches: the next run begins a new sequence. */
  resetCaches(): void;
  /** Gives back memory and threads. */
  release(): Promise<void>;
}

/** What the engine can do does not change while it runs, and finding out takes up to 35 ms. */
let probed: Tiers | undefined;
const probedTiers = (): Tiers => {
  probed ??= availableTiers();
  return probed;
};

export async function openSession(
  model: Model,
  platform: Platform,
  openFallback: OpenFallback,
  options: SessionOptions,
): Promise<WasmSession> {
  const label = model.path ?? "(in memory)";
  const notice = (code: string, message: string) =>
    options.onEvent?.({ type: "notice", notice: { code, message } });
  const tiers = probedTiers();
  if (!tiers.simd128.isUsable) {
    throw new BitloomError(
      "kernel",
      `"${label}" cannot run: ${tiers.simd128.reason}. Use Node 20 or newer, or a browser of 2023 or newer.`,
      { kernel: "session", isa: "simd128" },
    );
  }
  const engine = new Engine({
    threads: threadsOf(options, platform, notice),
    startThreads: platform.startThreads,
    label,
    onThreadLost: (reason) =>
      notice("thread-lost", `A thread was lost: ${reason}. The session goes on with fewer.`),
  });
  const fallback = new Fallback(openFallback);
  try {
    const carried =
      options.caches === "internal" ? cachePairs(model.graph) : new Map<string, string>();
    const defaults = await overridable(model);
    const infos = [...model.graph.inputs, ...defaults.infos];
    const missing = new Map<string, { reason: string; names: string[] }>();
    const built = await buildProgram(
      {
        model,
        engine,
        fallback,
        tiers,
        precision: options.precision ?? "fast",
        carried,
        onFallback: ({ opType, domain, name }, reason) => {
          const key = domain ? `${domain}::${opType}` : opType;
          const entry = missing.get(key) ?? { reason, names: [] };
          entry.names.push(name);
          missing.set(key, entry);
        },
      },
      infos.map(({ name }) => name),
    );
    for (const [operator, { reason, names }] of missing) {
      notice(
        "fallback",
        `${names.length} x ${operator} runs on ONNX Runtime (${reason}), for example "${names[0]}".`,
      );
    }
    return new OpenSession(model, built, engine, fallback, infos, defaults.values, carried);
  } catch (error) {
    await engine.close();
    await fallback.close();
    throw error;
  }
}

class OpenSession implements WasmSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueInfo[];
  readonly outputMetadata: readonly ValueInfo[];
  readonly nodes: { readonly total: number; readonly fallback: number };
  readonly #engine: Engine;
  readonly #fallback: Fallback;
  readonly #infos: readonly ValueInfo[];
  readonly #defaults: ReadonlyMap<string, HostTensor>;
  readonly #carried: ReadonlyMap<string, string>;
  #built: BuiltProgram | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #released: Promise<void> | undefined;
  #totalMs = 0;

  constructor(
    model: Model,
    built: BuiltProgram,
    engine: Engine,
    fallback: Fallback,
    infos: readonly ValueInfo[],
    defaults: ReadonlyMap<string, HostTensor>,
    carried: ReadonlyMap<string, string>,
  ) {
    const presents = new Set(carried.values());
    this.#built = built;
    this.#engine = engine;
    this.#fallback = fallback;
    this.#infos = infos;
    this.#defaults = defaults;
    this.#carried = carried;
    this.inputMetadata = model.graph.inputs.filter(({ name }) => !carried.has(name));
    this.outputMetadata = model.graph.outputs.filter(({ name }) => !presents.has(name));
    this.inputNames = this.inputMetadata.map(({ name }) => name);
    this.outputNames = this.outputMetadata.map(({ name }) => name);
    this.nodes = { total: built.nodes, fallback: built.fallbackNodes };
  }

  get carriesCaches(): boolean {
    return this.#carried.size > 0;
  }

  get elapsedMs() {
    return { total: this.#totalMs, fallback: this.#fallback.elapsedMs };
  }

  get memoryBytes() {
    return this.#engine.usedBytes;
  }

  async run(
    feeds: Readonly<Record<string, TensorLike>>,
    fetches: readonly string[] | Readonly<Record<string, unknown>> = this.outputNames,
  ): Promise<Record<string, Tensor>> {
    const names = Array.isArray(fetches) ? (fetches as readonly string[]) : Object.keys(fetches);
    const wanted = this.#infos.filter(({ name }) => !this.#carried.has(name));
    const given = readFeeds(feeds, wanted, this.#defaults);
    const byName = new Map(wanted.map(({ name }, index) => [name, given[index]]));
    const next = this.#last.then(() => this.#runNow(byName, names));
    this.#last = next.catch(() => undefined);
    return next;
  }

  resetCaches(): void {
    this.#built?.program.resetCarried();
  }

  release(): Promise<void> {
    this.#released ??= this.#last.then(async () => {
      this.#built = undefined;
      await this.#engine.close();
      await this.#fallback.close();
    });
    return this.#released;
  }

  async #runNow(
    given: ReadonlyMap<string, HostTensor>,
    names: readonly string[],
  ): Promise<Record<string, Tensor>> {
    const built = this.#built;
    if (!built) {
      throw new BitloomError("bad-option", "The session was released. Open the model again.", {
        option: "session",
      });
    }
    const start = performance.now();
    const outputs = names.map((name) => {
      const value = this.outputNames.includes(name) ? built.outputs.get(name) : undefined;
      if (value) return value;
      throw new BitloomError(
        "bad-data",
        `The model has no output "${name}". Its outputs are ${this.outputNames.join(", ")}.`,
        { input: name, expected: this.outputNames.join(", "), got: name },
      );
    });
    await this.#engine.recover();
    const results = await built.program.run(
      this.#infos.map(({ name }) => given.get(name)),
      outputs,
    );
    const tensors = names.map((name, index) => [name, tensorOf(feedOf(results[index]))] as const);
    this.#totalMs += performance.now() - start;
    return Object.fromEntries(tensors);
  }
}

function threadsOf(
  { threads }: SessionOptions,
  { startThreads, noThreadsReason, defaultThreads }: Platform,
  notice: (code: string, message: string) => void,
): number {
  if (
    threads !== undefined &&
    (!Number.isInteger(threads) || threads < 1 || threads > maximumThreads)
  ) {
    throw new BitloomError(
      "bad-option",
      `Option "threads" is ${threads}; expected a whole number from 1 to ${maximumThreads}.`,
      { option: "threads", got: String(threads) },
    );
  }
  if (startThreads) return threads ?? defaultThreads;
  if ((threads ?? 1) > 1)
    notice("one-thread", `The session runs on one thread: ${noThreadsReason}`);
  return 1;
}

/** Initializers that are inputs too: fed by the caller or taken from the file. */
async function overridable({ graph }: Model) {
  const infos: ValueInfo[] = [];
  const values = new Map<string, HostTensor>();
  for (const name of graph.overridable) {
    const source = graph.initializers.get(name);
    if (!source || !isStored(source.dtype)) continue;
    const { dtype, shape } = source;
    infos.push({ name, dtype, shape });
    values.set(name, hostTensor(dtype, shape, numbersOfBytes(dtype, shape, await source.bytes())));
  }
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  return { infos: infos.filter(({ name }) => !inputs.has(name)), values };
}
