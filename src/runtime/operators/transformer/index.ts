/**
 * Operators of transformers: norms, activations, rotary embeddings, attention; and the nodes that fusions make.
 */
import type { Operator } from "../../session/operator.ts";
import { activationOperators } from "./activation.ts";
import { attentionOperators } from "./attention-contrib.ts";
import { plainAttention } from "./attention-plain.ts";
import { standardAttention } from "./attention-standard.ts";
import { embedLayerNorm } from "./embed-layer-norm.ts";
import { groupQueryAttention } from "./group-query.ts";
import { multiHeadAttention } from "./multi-head.ts";
import { normOperators } from "./norm.ts";
import { rotaryOperators } from "./rotary.ts";

export const transformerOperators: Readonly<Record<string, Operator>> = {
  ...normOperators,
  ...activationOperators,
  ...rotaryOperators,
  ...attentionOperators,
  Attention: standardAttention,
  "bitloom.internal::PlainAttention": plainAttention,
  "com.microsoft::EmbedLayerNormalization": embedLayerNorm,
  "com.microsoft::GroupQueryAttention": groupQueryAttention,
  "com.microsoft::MultiHeadAttention": multiHeadAttention,
};
