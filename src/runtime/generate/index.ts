/**
 * Text generation, token by token, on any session of a language model.
 * Not here: text and tokenizers, which belong to `calibrate/`.
 */
import { BitloomError, throwIfAborted } from "../../core/errors.ts";
import { createRandom } from "../../core/random.ts";
import { type Decoder, startDecoder } from "./decoder.ts";
import { createSampler, type SamplingOptions } from "./sampling.ts";
import type { GenerationSession } from "./session.ts";

export type { SamplingOptions } from "./sampling.ts";
export type { GenerationSession } from "./session.ts";

/** One run of the model and the token that came of it. */
export interface GeneratedToken {
  readonly token: number;
  /** Tokens that the run put in: the whole prompt for the first, one for each later. */
  readonly inputTokens: number;
  /** Time of the run and of the choice. */
  readonly elapsedMs: number;
}

/** Options of `generateTokens`. */
export interface GenerateOptions extends SamplingOptions {
  readonly maxNewTokens: number;
  /** Of the draws; default 0. */
  readonly seed?: number | undefined;
  /** The sequence ends where one of these would come; they are not given out. */
  readonly stopTokens?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called for each run, also that which ends with a stop token. */
  readonly onToken?: ((token: GeneratedToken) => void) | undefined;
}

/** Signals and input get their turn at least this often. */
const pauseEveryMs = 20;

/**
 * Continues a sequence of tokens. Graphs with key and value caches see each token once; others run the whole sequence
 * for every token. The sequence begins anew: internal caches of the session are emptied first.
 *
 * @param promptIds - at least one token id.
 * @returns the new ids as they come, at most `maxNewTokens`, without the stop token.
 * @throws bad-option, bad-data - options or prompt out of range; a graph that is no language model.
 * @throws unsupported - caches that cannot be carried on, a fixed batch. numeric - logits that are not finite.
 * Also unsupported - the model fails in the middle, as at the end of its context. aborted - the signal fired.
 */
export async function* generateTokens(
  session: GenerationSession,
  promptIds: ArrayLike<number>,
  options: GenerateOptions,
): AsyncGenerator<number, void, undefined> {
  const { maxNewTokens, seed = 0, stopTokens = [], signal, onToken } = options;
  checkRequest(promptIds, maxNewTokens);
  const sample = createSampler(options, createRandom(seed));
  const decoder = startDecoder(session);
  let input = Int32Array.from(promptIds);
  let lastPause = performance.now();
  for (let count = 0; count < maxNewTokens; count++) {
    throwIfAborted(signal, "generation");
    const start = performance.now();
    const token = sample(await advance(decoder, input));
    const end = performance.now();
    onToken?.({ token, inputTokens: input.length, elapsedMs: end - start });
    if (stopTokens.includes(token)) return;
    yield token;
    input = Int32Array.of(token);
    if (end - lastPause < pauseEveryMs) continue;
    await turnOfEventLoop();
    lastPause = performance.now();
  }
}

/** Graphs do not tell how long a sequence may be; those that end somewhere fail inside. */
async function advance(decoder: Decoder, input: Int32Array): Promise<Float32Array> {
  const { position } = decoder;
  try {
    return await decoder.next(input);
  } catch (cause) {
    if (position === 0) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BitloomError(
      "unsupported",
      `The model failed after ${position} tokens; if its context ends there, ask for fewer new tokens. The failure was: ${reason}`,
      { what: `a sequence of ${position + input.length} tokens` },
      { cause },
    );
  }
}

function checkRequest(promptIds: ArrayLike<number>, maxNewTokens: number): void {
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new BitloomError(
      "bad-option",
      `Option maxNewTokens: expected a whole number from 1, got ${maxNewTokens}.`,
      { option: "maxNewTokens", got: String(maxNewTokens) },
    );
  }
  if (promptIds.length === 0) {
    throw new BitloomError(
      "bad-data",
      "The prompt is empty: expected at least one token id, got none. Begin with the tokenizer's BOS.",
      { input: "prompt", expected: "token ids", got: "none" },
    );
  }
  const wrong = Array.from(promptIds).find((id) => !Number.isInteger(id) || id < 0);
  if (wrong === undefined) return;
  throw new BitloomError(
    "bad-data",
    `The prompt holds ${wrong}: expected token ids, whole numbers from 0.`,
    { input: "prompt", expected: "token ids", got: String(wrong) },
  );
}

/** Browsers have no setImmediate. */
const turnOfEventLoop = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(() => resolve());
    else setTimeout(() => resolve(), 0);
  });
