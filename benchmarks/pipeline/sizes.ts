/**
 * The Llama-shaped models that the pipeline benchmark generates.
 */
import { llama135M } from "../../test/support/transformers/index.ts";

export const sizes = {
  "135M": llama135M,
  /** 1.1 G parameters in the shape of TinyLlama: 4.4 GB in float32. */
  "1100M": {
    hidden: 2048,
    layers: 22,
    heads: 32,
    kvHeads: 4,
    intermediate: 5632,
    vocabulary: 32000,
    positions: 2048,
    tied: false,
  },
} as const;
