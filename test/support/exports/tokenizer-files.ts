/**
 * The tokenizer files of an export, small: every character is a token. Two kinds: "causal" (byte-level BPE, BOS by
 * tokenizer_config.json) and "encoder" (WordPiece between [CLS] and [SEP]). Fewer than 128 ids.
 */

export type TokenizerKind = "causal" | "encoder";

export interface TokenizerFiles {
  readonly "tokenizer.json": object;
  readonly "tokenizer_config.json": object;
}

const special = (content: string, id: number) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false },
  ...{ normalized: false, special: true },
});

const vocabularyOf = (tokens: readonly string[]) =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

/** Printable ASCII without the space. */
const printable = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));

function causal(): TokenizerFiles {
  const specials = ["<s>", "</s>"];
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  return {
    "tokenizer.json": {
      version: "1.0",
      added_tokens: specials.map(special),
      normalizer: null,
      pre_tokenizer: { ...byteLevel, use_regex: true },
      post_processor: null,
      decoder: byteLevel,
      // Space and line feed as byte-level BPE writes them.
      model: {
        type: "BPE",
        vocab: vocabularyOf([...specials, "\u0120", "\u010a", ...printable]),
        merges: [],
      },
    },
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: "<s>",
      eos_token: "</s>",
      add_bos_token: true,
    },
  };
}

function encoder(): TokenizerFiles {
  const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i));
  const piece = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const tokens = [...specials, ...letters, ...letters.map((letter) => `##${letter}`), ".", ","];
  return {
    "tokenizer.json": {
      version: "1.0",
      added_tokens: specials.map(special),
      normalizer: {
        ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true },
        ...{ strip_accents: null, lowercase: true },
      },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: {
        type: "TemplateProcessing",
        single: [piece("[CLS]", 0), { Sequence: { id: "A", type_id: 0 } }, piece("[SEP]", 0)],
        pair: [],
        special_tokens: {
          "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
          "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
        },
      },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
        vocab: vocabularyOf(tokens),
      },
    },
    "tokenizer_config.json": {
      tokenizer_class: "BertTokenizer",
      cls_token: "[CLS]",
      sep_token: "[SEP]",
      mask_token: "[MASK]",
      pad_token: "[PAD]",
      unk_token: "[UNK]",
      model_max_length: 64,
    },
  };
}

export const tokenizerFiles = { causal, encoder } satisfies Record<
  TokenizerKind,
  () => TokenizerFiles
>;
