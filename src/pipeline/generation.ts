/**
 * Text from a prompt on the kernels: model file, tokenizer and session to text and speed.
 */
import { encodePrompt, findTokenizer, streamText } from "../calibrate/index.ts";
import type { BosOption } from "../core/dataset.ts";
import type { Notice, RunOptions } from "../core/events.ts";
import { openModel } from "../onnx/index.ts";
import {
  createSession,
  type GeneratedToken,
  generateTokens,
  type SamplingOptions,
} from "../runtime/index.ts";
import { version } from "../version.ts";
import { createJournal } from "./journal.ts";

export interface GenerateTextOptions extends SamplingOptions, RunOptions {
  readonly prompt: string;
  /** tokenizer.json or its folder; that beside the model when left out. */
  readonly tokenizer?: string | undefined;
  /** Default "auto": as the tokenizer says. */
  readonly bos?: BosOption | undefined;
  /** Default 64. */
  readonly maxNewTokens?: number | undefined;
  readonly seed?: number | undefined;
  readonly threads?: number | undefined;
  /** Default "fast". */
  readonly precision?: "fast" | "exact" | undefined;
  /** Called with each new piece of text. */
  readonly onText?: ((text: string) => void) | undefined;
}

/** What `generateText` wrote and how fast; the document of `quantize run --json`. */
export interface GenerationReport {
  readonly version: 1;
  readonly command: "run";
  readonly bitloom: string;
  readonly model: { readonly path: string; readonly bytes: number };
  /** Nodes after fusion, and how many of them ran on ONNX Runtime for lack of a kernel. */
  readonly nodes: { readonly total: number; readonly fallback: number };
  /** Share of the run time that was spent in those, 0 … 1. */
  readonly fallbackTime: number;
  readonly precision: "fast" | "exact";
  readonly temperature: number;
  readonly topK: number | null;
  readonly topP: number | null;
  readonly seed: number;
  readonly prompt: string;
  readonly promptTokens: readonly number[];
  readonly text: string;
  readonly tokens: readonly number[];
  /** "stop-token": the tokenizer's end of sequence came. */
  readonly end: "length" | "stop-token";
  /** Of the run that read the prompt, and of those that read one new token each; null when there was none. */
  readonly tokensPerSecond: { readonly prompt: number; readonly decode: number | null };
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}

const defaultNewTokens = 64;

/**
 * Continues a prompt. Ends at `maxNewTokens` or at the end of sequence that tokenizer_config.json names.
 *
 * @throws bad-model - no readable model. bad-data - no tokenizer, no language model, an unfit prompt.
 * @throws bad-option, unsupported, numeric, aborted - see `createSession` and `generateTokens`.
 */
export async function generateText(
  path: string,
  options: GenerateTextOptions,
): Promise<GenerationReport> {
  const { prompt, bos, threads, precision = "fast", onText, signal } = options;
  const { temperature = 0, topK, topP, seed = 0, maxNewTokens = defaultNewTokens } = options;
  const journal = createJournal(options);
  const { model, tokenizer, promptTokens, session } = await journal.stage("open", async () => {
    const model = await openModel(path);
    const tokenizer = await findTokenizer(options.tokenizer, [path], "The prompt");
    const promptTokens = encodePrompt(prompt, { tokenizer, graph: model.graph, bos });
    const session = await createSession(model, {
      precision,
      caches: "internal",
      onEvent: journal.emit,
      ...(threads === undefined ? {} : { threads }),
    });
    return { model, tokenizer, promptTokens, session };
  });
  try {
    const { eos } = tokenizer;
    const stream = streamText(tokenizer, promptTokens);
    const tokens: number[] = [];
    const runs: GeneratedToken[] = [];
    let text = "";
    const show = (part: string) => {
      if (part === "") return;
      text += part;
      onText?.(part);
    };
    await journal.stage("generate", async () => {
      const generated = generateTokens(session, promptTokens, {
        temperature,
        topK,
        topP,
        seed,
        maxNewTokens,
        stopTokens: eos === undefined ? [] : [eos],
        signal,
        onToken: (run) => void runs.push(run),
      });
      for await (const token of generated) {
        tokens.push(token);
        show(stream.push(token));
      }
      show(stream.end());
    });
    const { total, fallback } = session.elapsedMs;
    return {
      version: 1,
      command: "run",
      bitloom: version,
      model: { path, bytes: model.fileBytes },
      nodes: session.nodes,
      fallbackTime: total > 0 ? fallback / total : 0,
      precision,
      temperature,
      topK: topK ?? null,
      topP: topP ?? null,
      seed,
      prompt,
      promptTokens: [...promptTokens],
      text,
      tokens,
      end: runs.length > tokens.length ? "stop-token" : "length",
      tokensPerSecond: {
        prompt: speedOf(runs.slice(0, 1)),
        decode: runs.length > 1 ? speedOf(runs.slice(1)) : null,
      },
      notices: journal.notices,
      timings: journal.timings,
    };
  } finally {
    await session.release();
  }
}

function speedOf(runs: readonly GeneratedToken[]): number {
  const tokens = runs.reduce((sum, { inputTokens }) => sum + inputTokens, 0);
  const elapsedMs = runs.reduce((sum, run) => sum + run.elapsedMs, 0);
  return (1000 * tokens) / elapsedMs;
}
