/**
 * Which inputs of a decoder are the key/value caches that its outputs continue, by the names that exporters give them.
 * Invariant: a cache holds nothing before the first token, so that a sequence begins without clearing memory.
 */
import { emptyCacheShape } from "../../core/language-model.ts";
import { elementCount } from "../../core/tensor.ts";
import type { Graph, ValueInfo } from "../../onnx/types.ts";
import type { TensorType } from "./operator.ts";

/** "past_key_values.3.key", "past_key_3", "past.3.value" → what its output is called, with "past" as "present". */
const patterns: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^past_key_values(.*)$/, ["present", "present_key_values"]],
  [/^past(.*)$/, ["present"]],
];

/**
 * Type of a cache of one sequence before the first token; undefined where that holds something (caches of fixed length,
 * states of convolutions) or where more open dimensions than the length have no telling name.
 */
export function emptyCache({ dtype, shape }: ValueInfo): TensorType | undefined {
  const dims = emptyCacheShape(shape, 1);
  const open = dims.filter((dim) => dim === undefined).length;
  // The one that no name tells must be the length.
  if (open > 1 || (open === 1 && dims.includes(0))) return undefined;
  const start = dims.map((dim) => dim ?? 0);
  return dtype !== undefined && elementCount(start) === 0 ? { dtype, shape: start } : undefined;
}

/** Input → output. Only pairs of one element type and rank. */
export function cachePairs(graph: Graph): Map<string, string> {
  const outputs = new Map(graph.outputs.map((info) => [info.name, info]));
  const pairs = new Map<string, string>();
  for (const input of graph.inputs) {
    for (const [pattern, stems] of patterns) {
      const rest = pattern.exec(input.name)?.[1];
      if (rest === undefined) continue;
      const present = stems.map((stem) => outputs.get(`${stem}${rest}`)).find(Boolean);
      if (!present || present.dtype !== input.dtype || !emptyCache(input)) continue;
      if (present.shape && input.shape && present.shape.length !== input.shape.length) continue;
      pairs.set(input.name, present.name);
      break;
    }
  }
  return pairs;
}
