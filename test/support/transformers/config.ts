/**
 * Sizes of generated transformers, and what tells one model family from another.
 * Not here: how an exporter writes them. Invariant: equal configurations and seeds mean equal weights in every form.
 */

export type TransformerFloat = "float32" | "float16";

/** What a decoder family adds to the plain Llama block. */
export interface FamilyTraits {
  /** Bias on the q, k and v projections. */
  readonly projectionBias: boolean;
  /** RMS norm of every q and k head before the rotary embedding. */
  readonly headNorm: boolean;
  /** Added to every stored norm weight. */
  readonly normOffset: 0 | 1;
  /** The embedding is multiplied by √hidden. */
  readonly scaledEmbedding: boolean;
  readonly activation: "silu" | "gelu-tanh";
  /** The head multiplies by the embedding's transpose. */
  readonly tied: boolean;
  /** Norms after attention and perceptron too, before the residual sum. */
  readonly sandwichNorms: boolean;
  /** cap · tanh(x / cap) on attention scores; 0 = none. */
  readonly attentionSoftcap: number;
  /** The same on logits. */
  readonly logitSoftcap: number;
}

const llama: FamilyTraits = {
  projectionBias: false,
  headNorm: false,
  normOffset: 0,
  scaledEmbedding: false,
  activation: "silu",
  tied: false,
  sandwichNorms: false,
  attentionSoftcap: 0,
  logitSoftcap: 0,
};
const gemma: FamilyTraits = {
  ...llama,
  normOffset: 1,
  scaledEmbedding: true,
  activation: "gelu-tanh",
  tied: true,
};

/** Caps are far below Gemma 2's 50 and 30: scores of random weights are near 1, and the caps must show. */
export const decoderFamilies = {
  llama,
  qwen2: { ...llama, projectionBias: true },
  qwen3: { ...llama, headNorm: true },
  gemma,
  gemma2: { ...gemma, sandwichNorms: true, attentionSoftcap: 2, logitSoftcap: 2 },
  gemma3: { ...gemma, sandwichNorms: true, headNorm: true },
} satisfies Record<string, FamilyTraits>;

export type DecoderFamily = keyof typeof decoderFamilies;

export interface DecoderOptions {
  readonly family?: DecoderFamily;
  readonly hidden?: number;
  readonly layers?: number;
  readonly heads?: number;
  /** Key and value heads; fewer than `heads` means grouped queries. */
  readonly kvHeads?: number;
  /** Default hidden / heads. */
  readonly headDim?: number;
  readonly intermediate?: number;
  readonly vocabulary?: number;
  /** Rows of the cosine and sine tables. */
  readonly positions?: number;
  readonly dtype?: TransformerFloat;
  readonly seed?: number;
  /** Overrides the family's choice. */
  readonly tied?: boolean;
}

export type DecoderConfig = Required<Omit<DecoderOptions, "family">> & FamilyTraits;

/** Options with their defaults: two layers, 64 wide, grouped queries. */
export function decoderConfig(options: DecoderOptions = {}): DecoderConfig {
  const { family = "llama", ...given } = options;
  const hidden = given.hidden ?? 64;
  const heads = given.heads ?? 4;
  return {
    ...decoderFamilies[family],
    hidden,
    layers: 2,
    heads,
    kvHeads: heads % 2 === 0 ? heads / 2 : heads,
    headDim: hidden / heads,
    intermediate: 96,
    vocabulary: 128,
    positions: 256,
    dtype: "float32",
    seed: 1,
    ...given,
  };
}

/** 134.5 M parameters in the shape of SmolLM-135M: the decoder of the benchmarks. */
export const llama135M = {
  hidden: 576,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  intermediate: 1536,
  vocabulary: 49152,
  positions: 2048,
  tied: true,
} as const satisfies DecoderOptions;

export interface EncoderOptions {
  readonly hidden?: number;
  readonly layers?: number;
  readonly heads?: number;
  readonly intermediate?: number;
  readonly vocabulary?: number;
  /** Rows of the position table: the longest sequence. */
  readonly positions?: number;
  readonly dtype?: TransformerFloat;
  readonly seed?: number;
  /** Adds pooler and classifier with this many classes; 0 = the last hidden state is the output. */
  readonly classes?: number;
}

export type EncoderConfig = Required<EncoderOptions>;

/** Options with their defaults: two layers, 64 wide. */
export function encoderConfig(options: EncoderOptions = {}): EncoderConfig {
  return {
    hidden: 64,
    layers: 2,
    heads: 4,
    intermediate: 128,
    vocabulary: 128,
    positions: 64,
    dtype: "float32",
    seed: 1,
    classes: 0,
    ...options,
  };
}

/** Of every norm. */
export const normEpsilon = 1e-5;
/** Base of the rotary frequencies. */
export const rotaryBase = 10000;
