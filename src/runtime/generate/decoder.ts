/**
 * One token sequence through a language model: feeds by the roles of the graph's inputs, caches carried from run to
 * run, logits of the last position. Not here: choosing tokens (`sampling.ts`).
 * Invariant: a failed run leaves the position where it was.
 */
import { BitloomError } from "../../core/errors.ts";
import type { TensorData } from "../../core/feeds.ts";
import { emptyCacheShape, languageModelRoles } from "../../core/language-model.ts";
import { type DType, elementCount } from "../../core/tensor.ts";
import { feedOf, hostTensor, storedNumbers } from "../session/storage.ts";
import { Tensor, type TensorLike } from "../session/tensor.ts";
import type { GenerationSession, InputMetadata } from "./session.ts";

export interface Decoder {
  /** Tokens run so far. */
  readonly position: number;
  /**
   * Runs the next tokens of the sequence.
   *
   * @param ids - at least one.
   * @returns float32 [vocabulary], the logits of the last of them; valid until the next call.
   */
  next(ids: Int32Array): Promise<Float32Array>;
}

/** A cache input, the output that continues it, and its tensor. */
interface Cache {
  readonly input: InputMetadata;
  readonly output: string;
  tensor: TensorLike;
}

/**
 * Begins a sequence. Three kinds of graph work: those whose caches stay inside the session, those whose caches are fed
 * and returned, and those without caches, which run the whole sequence for every token.
 *
 * @throws bad-data - no token ids among the inputs, or inputs that tokens alone cannot feed.
 * @throws unsupported - a fixed batch above 1; caches that no output continues or of a fixed length.
 */
export function startDecoder(session: GenerationSession): Decoder {
  const { inputMetadata: inputs } = session;
  const roles = rolesOf(inputs);
  const ids = inputs.find(({ name }) => roles.get(name) === "ids") as InputMetadata;
  const fixedSequence = fixedLength(ids);
  const cacheInputs = inputs.filter(({ name }) => roles.get(name) === "cache");
  const isInternal = session.carriesCaches === true;
  // A session does not show the caches that it carries; others may be left beside them.
  const caches = startCaches(cacheInputs, session.outputNames);
  const hasCache = isInternal || caches.length > 0;
  if (hasCache && fixedSequence !== undefined && fixedSequence !== 1) {
    throw new BitloomError(
      "unsupported",
      `Input "${ids.name}" takes ${fixedSequence} tokens in every run beside caches: expected 1 or any number. Export the model with a dynamic sequence length.`,
      { what: `runs of ${fixedSequence} tokens with caches` },
    );
  }
  const logits = session.outputNames.find((name) => /logits/i.test(name)) ?? session.outputNames[0];
  const fetches = [logits, ...caches.map(({ output }) => output)];
  let history = new Int32Array(0);
  let position = 0;
  if (isInternal) session.resetCaches?.();

  /** Feeds of tokens that follow `past` others; `length` of them, of which those beyond the ids are padding. */
  const feedsOf = (tokens: Int32Array, past: number, length: number) => {
    const feeds: Record<string, TensorLike> = {};
    for (const input of inputs) {
      const row = (count: number, value: (index: number) => number) =>
        tensorFor(input, input.shape?.length === 2 ? [1, count] : [count], value);
      const single = (value: number) =>
        tensorFor(input, input.shape?.length === 1 ? [1] : [], () => value);
      switch (roles.get(input.name)) {
        case "ids":
          feeds[input.name] = row(length, (index) => tokens[index] ?? 0);
          break;
        case "attention-mask":
          feeds[input.name] = row(past + length, (index) => +(index < past + tokens.length));
          break;
        case "position-ids":
        case "cache-position":
          feeds[input.name] = row(length, (index) => past + index);
          break;
        case "token-type-ids":
          feeds[input.name] = row(length, () => 0);
          break;
        case "logits-to-keep":
          // Padding follows the last token, so its logits may not be the last ones.
          feeds[input.name] = single(length === tokens.length ? 1 : 0);
          break;
        case "use-cache-branch":
          feeds[input.name] = single(+(past > 0));
          break;
      }
    }
    for (const { input, tensor } of caches) feeds[input.name] = tensor;
    return feeds;
  };

  const run = async (tokens: Int32Array, past: number): Promise<Float32Array> => {
    const length = fixedSequence ?? tokens.length;
    if (tokens.length > length) throw tooLong(ids.name, tokens.length, length);
    const results = await session.run(feedsOf(tokens, past, length), fetches);
    const row = lastRow(results[logits], logits, length, tokens.length);
    for (const cache of caches) cache.tensor = results[cache.output];
    position = past + tokens.length;
    return row;
  };

  return {
    get position() {
      return position;
    },
    async next(tokens) {
      if (!hasCache) {
        const whole = new Int32Array(history.length + tokens.length);
        whole.set(history);
        whole.set(tokens, history.length);
        const row = await run(whole, 0);
        history = whole;
        return row;
      }
      if (fixedSequence === undefined) return run(tokens, position);
      let row: Float32Array = new Float32Array(0);
      for (const token of tokens) row = await run(Int32Array.of(token), position);
      return row;
    },
  };
}

function rolesOf(inputs: readonly InputMetadata[]) {
  const roles = languageModelRoles(inputs);
  const got = inputs.map(({ name, dtype }) => `"${name}" (${dtype})`).join(", ");
  if (!roles) {
    throw new BitloomError(
      "bad-data",
      `The model cannot generate text: expected an integer input of token ids, got ${got}. Use a causal language model.`,
      { input: "input_ids", expected: "token ids", got },
    );
  }
  const unknown = inputs.find(({ name }) => !roles.has(name));
  if (unknown) {
    throw new BitloomError(
      "bad-data",
      `The model cannot generate text from tokens alone: it also needs "${unknown.name}", which is none of the usual language model inputs. Use a causal language model.`,
      { input: unknown.name, expected: "language model inputs only", got },
    );
  }
  const batch = inputs.find(
    ({ name, shape }) =>
      roles.get(name) === "ids" &&
      shape?.length === 2 &&
      typeof shape[0] === "number" &&
      shape[0] > 1,
  );
  if (batch) {
    throw new BitloomError(
      "unsupported",
      `Input "${batch.name}" takes ${batch.shape?.[0]} sequences at once: expected one. Export the model with a dynamic batch.`,
      { what: "generation in a fixed batch" },
    );
  }
  return roles;
}

const fixedLength = ({ shape }: InputMetadata): number | undefined => {
  const length = shape?.at(-1);
  return typeof length === "number" ? length : undefined;
};

function startCaches(inputs: readonly InputMetadata[], outputs: readonly string[]): Cache[] {
  return inputs.map((input, index) => {
    const { name, dtype, shape } = input;
    const dims = emptyCacheShape(shape, 1);
    const output = presentOf(name, index, inputs.length, outputs);
    const isState = /conv|ssm|recurrent/.test(name);
    if (!output || !dtype || dims.includes(undefined) || (!isState && !dims.includes(0))) {
      const got = `${dtype} [${shape?.map((dim) => dim ?? "?").join(", ")}]`;
      throw new BitloomError(
        "unsupported",
        `Cannot carry the cache "${name}" from token to token: expected an open past length and an output that continues it, got ${got} and ${output ? `output "${output}"` : "no such output"}. Export the model with dynamic caches, or without.`,
        { what: `the cache "${name}"` },
      );
    }
    return { input, output, tensor: tensorFor(input, dims as number[], () => 0) };
  });
}

/** The output that continues a cache: the same name with "present" for "past", or the one in its place. */
function presentOf(
  past: string,
  index: number,
  count: number,
  outputs: readonly string[],
): string | undefined {
  const names = [
    past.replace(/past_key_values/, "present"),
    past.replace(/past_key_values/, "present_key_values"),
    past.replace(/past/, "present"),
    past.replace(/past/, "new"),
  ].filter((name) => name !== past);
  const named = names.find((name) => outputs.includes(name));
  if (named !== undefined) return named;
  const others = outputs.filter((name) => !/logits|hidden/i.test(name));
  return others.length === count && others.length < outputs.length ? others[index] : undefined;
}

/** Numbers in the input's own element type. */
function tensorFor(
  { dtype }: InputMetadata,
  dims: readonly number[],
  value: (index: number) => number,
): Tensor {
  const host = hostTensor(dtype ?? "int64", dims);
  for (let index = 0; index < host.data.length; index++) host.data[index] = value(index);
  const { data } = feedOf(host);
  return new Tensor(host.dtype, data, dims);
}

/** Logits of the last token that is no padding. */
function lastRow(
  tensor: TensorLike | undefined,
  name: string,
  length: number,
  tokens: number,
): Float32Array {
  const { type = "nothing", dims = [], data } = tensor ?? {};
  const vocabulary = dims.at(-1) ?? 0;
  const rows = vocabulary > 0 ? elementCount(dims) / vocabulary : 0;
  const isFloat = type === "float32" || type === "float16" || type === "bfloat16";
  // One row is that of the last position, which may be padding.
  const isLast = rows === 1 && tokens === length;
  if (!isFloat || !data || (rows !== length && !isLast)) {
    const got = `${type} [${dims.join(", ")}]`;
    throw new BitloomError(
      "unsupported",
      `Output "${name}" holds no logits of ${length} tokens: expected float [1, ${length}, vocabulary], got ${got}. Use a causal language model.`,
      { what: `the output "${name}"` },
    );
  }
  const row = rows === 1 ? 0 : tokens - 1;
  const numbers = data as Float32Array | Uint16Array;
  const last = numbers.subarray(row * vocabulary, (row + 1) * vocabulary);
  return storedNumbers(
    type as DType,
    last as Exclude<TensorData, readonly string[]>,
  ) as Float32Array;
}

function tooLong(input: string, got: number, most: number): BitloomError {
  return new BitloomError(
    "bad-data",
    `The sequence has outgrown the model: input "${input}" takes ${most} tokens, got ${got}. Ask for fewer new tokens or a shorter prompt.`,
    { input, expected: `${most} tokens`, got: `${got} tokens` },
  );
}
