/**
 * Sessions of one file in every library, behind the interface that generation asks for.
 */
import {
  createSession,
  type GenerationSession,
  openModel,
  type TensorLike,
  type WasmSession,
} from "../../src/index.ts";
import type { BenchmarkModel, Target } from "./models.ts";

export type Library = "bitloom" | "onnxruntime-web" | "onnxruntime-node";

export interface Contestant {
  readonly library: Library;
  readonly target: Target;
  readonly threads: number;
}

export interface OpenContestant extends Contestant {
  readonly session: GenerationSession;
  /** Ours only: nodes and time on the fallback. */
  readonly own: WasmSession | undefined;
  /** Logits of the last run. */
  logits(): TensorLike | undefined;
  release(): Promise<void>;
}

export function contestants(threads: number): Contestant[] {
  const counts = threads === 1 ? [1] : [1, threads];
  const all = (library: Library, target: Target) =>
    counts.map((count) => ({ library, target, threads: count }));
  return [
    ...all("bitloom", "portable"),
    // Its threads are set once for the whole process.
    { library: "onnxruntime-web", target: "portable", threads: 1 },
    ...all("onnxruntime-node", "portable"),
    ...all("onnxruntime-node", "ort"),
  ];
}

export async function openContestant(
  contestant: Contestant,
  { files }: BenchmarkModel,
): Promise<OpenContestant> {
  const { library, target, threads } = contestant;
  const file = files[target];
  const own =
    library === "bitloom" ? await createSession(file, { threads, caches: "internal" }) : undefined;
  const inner = own ?? (await openRival(library as Rival, file, threads));
  let logits: TensorLike | undefined;
  const session: GenerationSession = {
    outputNames: inner.outputNames,
    inputMetadata: inner.inputMetadata,
    carriesCaches: inner.carriesCaches,
    async run(feeds, fetches) {
      const results = await inner.run(feeds, fetches);
      logits = results.logits;
      return results;
    },
    resetCaches: () => inner.resetCaches?.(),
  };
  return { ...contestant, session, own, logits: () => logits, release: () => inner.release() };
}

type Rival = Exclude<Library, "bitloom">;

/** What is used of onnxruntime-common, which both rivals implement. */
interface Ort {
  readonly env: { readonly wasm: { numThreads?: number } };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => TensorLike;
  readonly InferenceSession: {
    create(
      file: string | Uint8Array,
      options: Readonly<Record<string, number>>,
    ): Promise<OrtSession>;
  };
}
interface OrtSession {
  readonly outputNames: readonly string[];
  run(
    feeds: Readonly<Record<string, TensorLike>>,
    fetches?: readonly string[],
  ): Promise<Readonly<Record<string, TensorLike>>>;
  release(): Promise<void>;
}

async function openRival(
  rival: Rival,
  file: string,
  threads: number,
): Promise<GenerationSession & { release(): Promise<void> }> {
  const module = (await import(rival)) as Ort & { readonly default?: Ort };
  const ort = module.InferenceSession ? module : (module.default as Ort);
  if (rival === "onnxruntime-web") ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(file, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const { graph } = await openModel(file);
  const isOwn = (tensor: TensorLike): boolean => tensor instanceof ort.Tensor;
  return {
    outputNames: session.outputNames,
    inputMetadata: graph.inputs,
    run(feeds, fetches) {
      const own = Object.entries(feeds).map(([name, tensor]) => [
        name,
        // Caches come back as they were returned.
        isOwn(tensor) ? tensor : new ort.Tensor(tensor.type, tensor.data, tensor.dims),
      ]);
      return session.run(Object.fromEntries(own), fetches);
    },
    release: () => session.release(),
  };
}
