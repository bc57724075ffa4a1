/**
 * Which graph inputs make a language model, and what the graph fixes of them.
 * Not here: the names by which they are known (`core/language-model.ts`), filling them (`lm-feeds.ts`).
 */
import { type LanguageModelRole, languageModelRoles } from "../../core/language-model.ts";
import type { Graph } from "../../onnx/types.ts";

export interface LanguageModelInputs {
  /** Name of the token id input. */
  readonly ids: string;
  readonly roles: ReadonlyMap<string, LanguageModelRole>;
  /** Required inputs with no role: the model needs more than text. */
  readonly unknown: readonly string[];
  /** The batch size that the graph fixes. */
  readonly fixedBatch: number | undefined;
  /** The sequence length that the graph fixes. */
  readonly fixedSequence: number | undefined;
  /** Ids from this on are out of range; undefined when the graph does not tell. */
  readonly vocabularySize: number | undefined;
}

/**
 * Finds the role of every input and what the graph fixes.
 *
 * @returns undefined when the graph has no token id input: it is no language model.
 */
export function languageModelInputs(graph: Graph): LanguageModelInputs | undefined {
  const roles = languageModelRoles(graph.inputs);
  const ids = graph.inputs.find(({ name }) => roles?.get(name) === "ids");
  if (!roles || !ids) return undefined;
  const shape = ids.shape ?? [];
  return {
    ids: ids.name,
    roles,
    unknown: graph.inputs
      .filter(({ name }) => !roles.has(name) && !graph.initializers.has(name))
      .map(({ name }) => name),
    fixedBatch: shape.length === 2 ? fixed(shape[0]) : 1,
    fixedSequence: fixed(shape[shape.length - 1]),
    vocabularySize: graphVocabularySize(graph, ids.name),
  };
}

function fixed(dim: number | string | undefined): number | undefined {
  return typeof dim === "number" ? dim : undefined;
}

/** The smaller of the tables that the ids index and of the logits' last dimension, as far as the graph tells them. */
function graphVocabularySize(graph: Graph, ids: string): number | undefined {
  const logits = graph.outputs.find(({ name }) => /logits/.test(name))?.shape?.at(-1);
  const sizes = [gatheredRows(graph, ids), fixed(logits)].filter((size) => size !== undefined);
  return sizes.length > 0 ? Math.min(...sizes) : undefined;
}

/**
 * Rows of the smallest constant table that a value indexes, directly or through Cast, Identity or a change of shape;
 * undefined when it indexes none.
 */
export function gatheredRows(graph: Graph, value: string): number | undefined {
  const sizes: number[] = [];
  const passThrough = new Set(["Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten"]);
  const pending = [value];
  const seen = new Set(pending);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const { node, index } of graph.uses(next)) {
      const rows = graph.initializers.get(node.inputs[0])?.shape[0];
      if (/^Gather(BlockQuantized)?$/.test(node.opType) && index === 1 && rows !== undefined) {
        const axis = node.attributes.get("axis") ?? node.attributes.get("gather_axis");
        if (axis === undefined || (axis.type === "int" && axis.value === 0)) sizes.push(rows);
      } else if (passThrough.has(node.opType) && index === 0 && !seen.has(node.outputs[0])) {
        seen.add(node.outputs[0]);
        pending.push(node.outputs[0]);
      }
    }
  }
  return sizes.length > 0 ? Math.min(...sizes) : undefined;
}
