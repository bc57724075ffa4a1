/**
 * Which graph inputs make a language model, and what the graph fixes of them.
 * Not here: the names by which they are known (`core/language-model.ts`), filling them (`lm-feeds.ts`).
 */
import { type LanguageModelRole, languageModelRoles } from "../../core/language-model.ts";
import { findLogits, gatheredRows } from "../../onnx/portable.ts";
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
  const logits = findLogits(graph)?.shape?.at(-1);
  const sizes = [gatheredRows(graph, ids), fixed(logits)].filter((size) => size !== undefined);
  return sizes.length > 0 ? Math.min(...sizes) : undefined;
}
