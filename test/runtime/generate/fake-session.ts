/**
 * A language model in ten lines: the next token depends on every token so far, on their positions and on the mask, so
 * wrong feeds give wrong tokens. Its forms differ in inputs only.
 */
import type { DeclaredInput } from "../../../src/core/language-model.ts";
import { toFloat16Bits } from "../../../src/core/tensor.ts";
import type { GenerationSession } from "../../../src/runtime/index.ts";
import { Tensor, type TensorLike } from "../../../src/runtime/session/tensor.ts";

export const vocabulary = 17;

export interface FakeOptions {
  readonly caches?: "none" | "fed" | "internal";
  /** Names of the cache input and output. */
  readonly names?: readonly [input: string, output: string];
  readonly inputs?: readonly DeclaredInput[];
  /** Dims of the ids; default open ones. */
  readonly ids?: DeclaredInput["shape"];
  readonly idsType?: "int32" | "int64";
  readonly logits?: "float32" | "float16";
}

export interface FakeSession extends GenerationSession {
  /** The feeds of every run. */
  readonly runs: Readonly<Record<string, TensorLike>>[];
  /** The outputs asked for in every run. */
  readonly fetched: (readonly string[] | undefined)[];
  resets: number;
}

/** Token that follows a sequence. */
export function successor(ids: readonly number[]): number {
  return ids.reduce((sum, id, at) => (31 * sum + 7 * id + at) % 104729, 1) % vocabulary;
}

export function greedy(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  while (ids.length < prompt.length + count) ids.push(successor(ids));
  return ids.slice(prompt.length);
}

export function fakeSession(options: FakeOptions = {}): FakeSession {
  const { caches = "none", inputs = [], idsType = "int64", logits = "float32" } = options;
  const [past, present] = options.names ?? ["past_key_values.0.key", "present.0.key"];
  const shape = options.ids ?? ["batch", "sequence"];
  const cache = { name: past, dtype: logits, shape: ["batch", 1, "past", 1] } as const;
  const inputMetadata: DeclaredInput[] = [
    { name: "input_ids", dtype: idsType, shape },
    ...inputs,
    ...(caches === "fed" ? [cache] : []),
  ];
  let kept: number[] = [];
  const session: FakeSession = {
    runs: [],
    fetched: [],
    resets: 0,
    inputMetadata,
    outputNames: caches === "fed" ? [present, "logits"] : ["logits"],
    carriesCaches: caches === "internal",
    resetCaches() {
      kept = [];
      session.resets++;
    },
    async run(feeds, fetches) {
      session.runs.push(feeds);
      session.fetched.push(fetches);
      const before = caches === "internal" ? kept : caches === "fed" ? numbers(feeds[past]) : [];
      const ids = numbers(feeds.input_ids);
      const all = [...before, ...ids];
      kept = all;
      const onlyLast = numbers(feeds.num_logits_to_keep)[0] === 1;
      const rows = (onlyLast ? [ids.length - 1] : [...ids.keys()]).map((at) =>
        oneHot(successor(all.slice(0, before.length + at + 1))),
      );
      const values = Float32Array.from(rows.flat());
      const tensor = (data: Float32Array, dims: readonly number[]) =>
        new Tensor(
          logits,
          logits === "float16" ? Uint16Array.from(data, toFloat16Bits) : data,
          dims,
        );
      return {
        logits: tensor(
          values,
          shape?.length === 1 ? [rows.length, vocabulary] : [1, rows.length, vocabulary],
        ),
        [present]: tensor(Float32Array.from(all), [1, 1, all.length, 1]),
      };
    },
  };
  /** The fake caches hold the ids themselves. */
  function numbers(tensor: TensorLike | undefined): number[] {
    if (!tensor) return [];
    const values = Array.from(tensor.data as ArrayLike<number | bigint>, Number);
    return tensor.type === "float16" ? values.map(fromHalf) : values;
  }
  return session;
}

const halves = new Map(Array.from({ length: 64 }, (_, id) => [toFloat16Bits(id), id]));
const fromHalf = (bits: number) => halves.get(bits) ?? Number.NaN;

const oneHot = (id: number) =>
  Array.from({ length: vocabulary }, (_, at) => (at === id ? 9 : at / 99));
