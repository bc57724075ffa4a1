/**
 * Prompts as token ids, by the same rules as calibration text.
 */
import type { BosOption } from "../../core/dataset.ts";
import type { Graph } from "../../onnx/types.ts";
import { checkVocabulary, encodeStream, requireLanguageModel, resolveBos } from "./text.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** Whose ids a prompt becomes. */
export interface EncodePromptOptions {
  readonly tokenizer: TextTokenizer;
  /** The model that will read the ids. */
  readonly graph: Graph;
  /** Default "auto". */
  readonly bos?: BosOption | undefined;
}

/**
 * Ids of a prompt, led by one BOS if there is one; an empty prompt is the BOS alone.
 *
 * @returns int32 [tokens], at least one.
 * @throws bad-data - an empty prompt without a BOS, no language model, an id outside the model's vocabulary.
 * @throws bad-option - a BOS that the tokenizer does not have.
 */
export function encodePrompt(prompt: string, options: EncodePromptOptions): Int32Array {
  const { tokenizer, graph } = options;
  const { vocabularySize } = requireLanguageModel(graph);
  const bos = resolveBos(options.bos ?? "auto", tokenizer);
  const ids =
    prompt === "" && bos !== undefined
      ? Int32Array.of(bos)
      : encodeStream(prompt, tokenizer, bos, "the prompt");
  checkVocabulary(ids, vocabularySize, "the prompt");
  return ids;
}
