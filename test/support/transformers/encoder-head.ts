/**
 * Ends of BERT exports: inputs, and either the last hidden state or pooler and classifier.
 */
import { attribute } from "../../../src/onnx/index.ts";
import type { EncoderConfig } from "./config.ts";
import type { EncoderWeights } from "./encoder-weights.ts";
import type { GraphWriter } from "./graph-writer.ts";

/** Declares inputs [batch_size, sequence_length] and the output; both axes are dynamic. */
export function declareEncoder({ builder }: GraphWriter, config: EncoderConfig): void {
  const { classes, hidden, dtype } = config;
  for (const name of ["input_ids", "attention_mask", "token_type_ids"]) {
    builder.input(name, "int64", ["batch_size", "sequence_length"]);
  }
  if (classes > 0) builder.output("logits", dtype, ["batch_size", classes]);
  else builder.output(hiddenName, dtype, ["batch_size", "sequence_length", hidden]);
}

const hiddenName = "last_hidden_state";

/** Name of the last layer's output; undefined when a classifier follows. */
export function lastOutput(config: EncoderConfig, layer: number): string | undefined {
  return config.classes === 0 && layer === config.layers - 1 ? hiddenName : undefined;
}

/** logits = classifier(tanh(pooler(first token))). */
export function classify(
  root: GraphWriter,
  config: EncoderConfig,
  weights: EncoderWeights,
  hidden: string,
): void {
  if (config.classes === 0) return;
  const gemm = (writer: GraphWriter, key: string, x: string, n: number, output?: string) => {
    const { weight, bias } = weights.dense(key, n);
    const attributes = {
      alpha: attribute.float(1),
      beta: attribute.float(1),
      transB: attribute.int(1),
    };
    return writer.op("Gemm", [x, weight, bias], attributes, output);
  };
  const pooler = root.in("bert/pooler");
  const first = pooler.op("Gather", [hidden, pooler.int(0)], { axis: attribute.int(1) });
  const pooled = gemm(pooler.in("dense"), "pooler.dense", first, config.hidden);
  const active = pooler.in("activation").op("Tanh", [pooled]);
  gemm(root.in("classifier"), "classifier", active, config.classes, "logits");
}
