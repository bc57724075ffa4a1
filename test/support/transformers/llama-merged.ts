/**
 * Decoders as older versions of optimum merged them ("decoder_model_merged.onnx"): the whole decoder twice, with and
 * without a past, in the branches of one If; the branches read their weights from the main graph.
 */
import { attribute, editModel, type Model } from "../../../src/onnx/index.ts";
import { graph } from "../graph-builder.ts";
import { type LlamaPlainOptions, llamaPlain } from "./llama-plain.ts";

/** The inputs of `llamaPlain` with a cache and use_cache_branch → its outputs. */
export function llamaMerged(options: Omit<LlamaPlainOptions, "cache"> = {}): Model {
  const decoder = llamaPlain({ ...options, cache: true });
  const { inputs, outputs, initializers } = decoder.graph;
  const body = editModel(decoder);
  for (const [name, { dtype, shape }] of initializers) {
    body.removeInitializer(name);
    body.addInput({ name, dtype, shape });
  }
  const captures = [...inputs.map(({ name }) => name), ...initializers.keys()];
  const branch = attribute.subgraph(body.commit(), captures);
  const merged = graph({ opset: decoder.opsets.get("") ?? 18, irVersion: decoder.irVersion });
  for (const { name, dtype, shape } of inputs) merged.input(name, dtype ?? "float32", shape);
  merged.input("use_cache_branch", "bool", [1]);
  for (const { name, dtype, shape } of outputs) merged.output(name, dtype, shape);
  for (const tensor of initializers.values()) merged.tensor(tensor);
  const names = outputs.map(({ name }) => name);
  const branches = { then_branch: branch, else_branch: branch };
  return merged.node("If", ["use_cache_branch"], names, branches, "optimum::if").model();
}
