/**
 * The Llama-shaped models that the pipeline benchmark generates.
 */
import { llama135M } from "../../test/support/transformers/index.ts";

const tinyLlama = {
  hidden: 2048,
  heads: 32,
  kvHeads: 4,
  intermediate: 5632,
  positions: 2048,
  tied: false,
} as const;

export const sizes = {
  "135M": llama135M,
  /** 1.1 G parameters in the shape of TinyLlama: 4.4 GB in float32. */
  "1100M": { ...tinyLlama, layers: 22, vocabulary: 32000 },
  /** As many, nearly all of them in the blocks: 4.36 GB in float32. */
  "1090M": { ...tinyLlama, layers: 24, vocabulary: 8000 },
} as const;
