/**
 * Token ids to text as they come. Ids cannot be decoded one by one: a character may take several, and the space before
 * a word may depend on the id before it.
 * Invariant: the parts together are the text that the ids give after the prompt, whatever their number.
 */
import type { TextTokenizer } from "./tokenizer.ts";

/** Tokens in, text out, as far as it is certain. */
export interface TextStream {
  /** Text that this id completes; "" while a character is still open. */
  push(id: number): string;
  /** What is left of a character that never got complete. */
  end(): string;
}

/** Ids before the new ones that are decoded along, for spaces that depend on them. */
const contextIds = 8;

/**
 * Begins a stream after a prompt.
 *
 * @param promptIds - ids that come before; their text is not part of the stream.
 *
 * Cost: O(1) ids decoded per id pushed.
 */
export function streamText(tokenizer: TextTokenizer, promptIds: ArrayLike<number>): TextStream {
  let ids = Array.from(promptIds).slice(-contextIds);
  let shown = tokenizer.decode(ids);
  const next = (isLast: boolean) => {
    const text = tokenizer.decode(ids);
    // Incomplete UTF-8 shows as the replacement character.
    if (!isLast && (text.endsWith("\uFFFD") || text.length <= shown.length)) return "";
    const part = text.slice(shown.length);
    ids = ids.slice(-contextIds);
    shown = tokenizer.decode(ids);
    return part;
  };
  return {
    push(id) {
      ids.push(id);
      return next(false);
    },
    end: () => next(true),
  };
}
