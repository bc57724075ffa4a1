/**
 * Which inputs of a decoder are the key/value caches that its outputs continue, by the names that exporters give them.
 */
import type { Graph } from "../../onnx/types.ts";

/** "past_key_values.3.key", "past_key_3", "past.3.value" → what its output is called, with "past" as "present". */
const patterns: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^past_key_values(.*)$/, ["present", "present_key_values"]],
  [/^past(.*)$/, ["present"]],
];

/** Input → output. Only pairs of one element type and rank. */
export function cachePairs(graph: Graph): Map<string, string> {
  const outputs = new Map(graph.outputs.map((info) => [info.name, info]));
  const pairs = new Map<string, string>();
  for (const input of graph.inputs) {
    for (const [pattern, stems] of patterns) {
      const rest = pattern.exec(input.name)?.[1];
      if (rest === undefined) continue;
      const present = stems.map((stem) => outputs.get(`${stem}${rest}`)).find(Boolean);
      if (!present || present.dtype !== input.dtype) continue;
      if (present.shape && input.shape && present.shape.length !== input.shape.length) continue;
      pairs.set(input.name, present.name);
      break;
    }
  }
  return pairs;
}
