/**
 * Transformers with seeded random weights, written the way real exporters write them. Graphs of one configuration
 * share their weights, so their results must agree.
 */
export { type BertFusedOptions, bertFused } from "./bert-fused.ts";
export { type BertPlainOptions, bertPlain } from "./bert-plain.ts";
export * from "./config.ts";
export * from "./feeds.ts";
export { type LlamaFusedOptions, llamaFused } from "./llama-fused.ts";
export { llamaMerged } from "./llama-merged.ts";
export { type LlamaOpset23Options, llamaOpset23 } from "./llama-opset23.ts";
export { type LlamaPlainOptions, llamaPlain } from "./llama-plain.ts";
export {
  type QuantizedTransformer,
  type QuantizedTransformerOptions,
  quantizedTransformer,
} from "./quantized.ts";
export { type VitOptions, vitPlain } from "./vit-plain.ts";
