/**
 * What a graph tells of the language model in it: how many tokens it knows, which output predicts the next one.
 * Not here: the roles of the inputs (`core/language-model.ts`).
 */
import { languageModelRoles } from "../core/language-model.ts";
import type { Graph, ValueInfo } from "./types.ts";

const floats = ["float32", "float16", "bfloat16"];

/**
 * The output that holds next-token logits [batch, tokens, vocabulary]: the float output of rank 3 called "logits" or
 * like it, or the only float output of rank 3. Hidden states and labels of tokens have that rank too; they are told by
 * their name, or by a width that is far from the number of tokens.
 *
 * @returns undefined when the graph has none.
 */
export function findLogits(graph: Graph): ValueInfo | undefined {
  const ids = idsOf(graph);
  const tokens = ids === undefined ? undefined : gatheredRows(graph, ids);
  const candidates = graph.outputs.filter(
    ({ dtype, shape }) => floats.includes(dtype ?? "") && shape?.length === 3,
  );
  const found =
    candidates.find(({ name }) => name === "logits") ??
    candidates.find(({ name }) => /logits/i.test(name)) ??
    (candidates.length === 1 && !/hidden|embed/i.test(candidates[0].name)
      ? candidates[0]
      : undefined);
  return found && isVocabulary(found.shape?.[2], tokens) ? found : undefined;
}

/** Exporters pad the table or the logits; less than half or twice as many are something else. */
function isVocabulary(width: number | string | undefined, tokens: number | undefined): boolean {
  if (typeof width !== "number" || tokens === undefined) return true;
  return 2 * width > tokens && width < 2 * tokens;
}

function idsOf(graph: Graph): string | undefined {
  const roles = languageModelRoles(graph.inputs) ?? new Map();
  return graph.inputs.find(({ name }) => roles.get(name) === "ids")?.name;
}

/** Change neither the order nor the number of the ids. */
const passThrough = new Set(["Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten"]);

/**
 * Rows of the smallest constant table that a value indexes, directly or through Cast, Identity or a change of shape;
 * undefined when it indexes none.
 */
export function gatheredRows(graph: Graph, value: string): number | undefined {
  const sizes: number[] = [];
  const pending = [value];
  const seen = new Set(pending);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const { node, index } of graph.uses(next)) {
      const table = tableOf(node, index);
      const rows = graph.initializers.get(table ?? "")?.shape[0];
      if (rows !== undefined) sizes.push(rows);
      if (passThrough.has(node.opType) && index === 0 && !seen.has(node.outputs[0])) {
        seen.add(node.outputs[0]);
        pending.push(node.outputs[0]);
      }
    }
  }
  return sizes.length > 0 ? Math.min(...sizes) : undefined;
}

/** The table whose rows a node takes by its input `index`. */
function tableOf(node: Graph["nodes"][number], index: number): string | undefined {
  // Inputs 0 and 1 are ids of words and of segments, 2 to 4 the tables of words, positions and segments.
  if (node.opType === "EmbedLayerNormalization") return [node.inputs[2], node.inputs[4]][index];
  if (!/^Gather(BlockQuantized)?$/.test(node.opType) || index !== 1) return undefined;
  const axis = node.attributes.get("axis") ?? node.attributes.get("gather_axis");
  return axis === undefined || (axis.type === "int" && axis.value === 0)
    ? node.inputs[0]
    : undefined;
}
