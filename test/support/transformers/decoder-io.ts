/**
 * Inputs and outputs of decoder exports: optimum and the onnxruntime-genai builder name them alike.
 */
import type { DecoderConfig } from "./config.ts";
import type { GraphWriter } from "./graph-writer.ts";

export interface DecoderInputs {
  readonly cache: boolean;
  readonly positionIds: boolean;
}

/** Declares the graph's ends; they have dynamic batch, sequence and past. */
export function declareDecoder(
  { builder }: GraphWriter,
  config: DecoderConfig,
  { cache, positionIds }: DecoderInputs,
): void {
  const { kvHeads, headDim, vocabulary, dtype, layers } = config;
  const total = cache ? "total_sequence_length" : "sequence_length";
  builder
    .input("input_ids", "int64", ["batch_size", "sequence_length"])
    .input("attention_mask", "int64", ["batch_size", total]);
  if (positionIds) builder.input("position_ids", "int64", ["batch_size", "sequence_length"]);
  builder.output("logits", dtype, ["batch_size", "sequence_length", vocabulary]);
  if (!cache) return;
  for (let layer = 0; layer < layers; layer++) {
    for (const kind of ["key", "value"] as const) {
      const length = "past_sequence_length";
      builder
        .input(pastName(layer, kind), dtype, ["batch_size", kvHeads, length, headDim])
        .output(presentName(layer, kind), dtype, ["batch_size", kvHeads, total, headDim]);
    }
  }
}

export type CacheKind = "key" | "value";

export const pastName = (layer: number, kind: CacheKind) => `past_key_values.${layer}.${kind}`;
export const presentName = (layer: number, kind: CacheKind) => `present.${layer}.${kind}`;
