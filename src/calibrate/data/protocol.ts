/**
 * How a token stream is cut into windows: the fine print that makes two perplexities comparable.
 * Invariant: window `w` reads ids [w·stride, w·stride + window]; input i predicts id i + 1.
 */
import type { BosOption, Protocol, TokenWindow } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";

/** Consecutive windows, every prediction scored, one leading BOS if the tokenizer prepends one. */
export function plainProtocol(window: number, bos: BosOption = "auto"): Protocol {
  return {
    name: `windows-${window}`,
    window,
    stride: window,
    bos,
    bosEachWindow: false,
    scoreFrom: 0,
  };
}

/** Published protocols, reproduced prediction for prediction. */
export const protocols = {
  /**
   * The GPTQ papers' and Hugging Face's non-overlapping evaluation: chunks of 2048 tokens, of which the first is never
   * predicted, hence 2047 predictions per 2048 tokens.
   */
  "hf-2048": {
    name: "hf-2048",
    window: 2047,
    stride: 2048,
    bos: "auto",
    bosEachWindow: false,
    scoreFrom: 0,
  },
  /**
   * llama-perplexity with its default context: chunks of 512 tokens whose first is replaced by BOS (when the tokenizer
   * has one); positions 256 … 510 are scored, 255 predictions per chunk.
   */
  "llama.cpp-512": {
    name: "llama.cpp-512",
    window: 511,
    stride: 512,
    bos: "auto",
    bosEachWindow: true,
    scoreFrom: 256,
  },
} as const satisfies Record<string, Protocol>;

/**
 * Cuts a token stream into windows; an incomplete last window is dropped.
 *
 * @param ids - int32, the whole stream with its leading BOS, if any.
 * @param bos - id that overwrites each window's first token when the protocol asks for it; undefined leaves it.
 *
 * Cost: O(windows · window) time and memory.
 *
 * @throws bad-option - lengths that make no window. bad-data - fewer than window + 1 tokens.
 */
export function cutWindows(
  ids: Int32Array,
  protocol: Protocol,
  bos?: number | undefined,
): TokenWindow[] {
  checkProtocol(protocol);
  const { window, stride, scoreFrom } = protocol;
  if (ids.length < window + 1) {
    throw new BitloomError(
      "bad-data",
      `The text is shorter than one window: expected at least ${window + 1} tokens, got ${ids.length}. Give a longer text or a smaller window.`,
      { input: "text", expected: `${window + 1} tokens`, got: `${ids.length} tokens` },
    );
  }
  const count = Math.floor((ids.length - window - 1) / stride) + 1;
  return Array.from({ length: count }, (_, index) => {
    const slice = ids.slice(index * stride, index * stride + window + 1);
    if (protocol.bosEachWindow && bos !== undefined) slice[0] = bos;
    return {
      ids: slice,
      scoreFrom: index === 0 ? scoreFrom : Math.max(scoreFrom, window - stride),
    };
  });
}

/**
 * Refuses lengths that make no window.
 *
 * @throws bad-option - names the field.
 */
export function checkProtocol(protocol: Protocol): void {
  const { window, stride, scoreFrom } = protocol;
  mustHold("window", window, window >= 1, "a whole number from 1");
  mustHold("stride", stride, stride >= 1, "a whole number from 1");
  mustHold(
    "scoreFrom",
    scoreFrom,
    scoreFrom >= 0 && scoreFrom < window,
    "a whole number below the window",
  );
}

function mustHold(option: string, value: number, holds: boolean, expected: string): void {
  if (Number.isInteger(value) && holds) return;
  throw new BitloomError("bad-option", `Option ${option}: expected ${expected}, got ${value}.`, {
    option,
    got: String(value),
  });
}

/** How many following windows share predictions with a window. */
export function windowOverlap(protocol: Protocol): number {
  return Math.ceil(protocol.window / protocol.stride) - 1;
}

/** One line for reports: `windows of 256 predictions, stride 256, BOS from the tokenizer once, all scored`. */
export function describeProtocol(protocol: Protocol): string {
  const { window, stride, bos, bosEachWindow, scoreFrom } = protocol;
  const token = bos === "auto" ? "BOS as the tokenizer sets it" : `BOS id ${bos}`;
  const start = bos === "none" ? "no BOS" : `${token} ${bosEachWindow ? "in each window" : "once"}`;
  const first = Math.max(scoreFrom, window - stride);
  const scored = first === 0 ? "all scored" : `scored from prediction ${first}`;
  return `windows of ${window} predictions, stride ${stride}, ${start}, ${scored}`;
}
