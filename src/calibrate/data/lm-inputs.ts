/**
 * Which graph inputs make a language model, and what each is for. Names as exporters write them, types as a check.
 * Not here: filling them (`lm-feeds.ts`).
 */
import type { Graph, ValueInfo } from "../../onnx/types.ts";

export type LanguageModelRole =
  | "ids"
  | "attention-mask"
  | "position-ids"
  | "token-type-ids"
  | "cache"
  | "use-cache-branch"
  | "cache-position"
  | "logits-to-keep";

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

const idNames = /^(decoder_)?(input_ids|token_ids|tokens|ids)$/;

interface RoleRule {
  readonly role: LanguageModelRole;
  readonly name: RegExp;
  readonly dtypes: RegExp;
  readonly ranks: readonly number[];
}

const integer = /^int(32|64)$/;
const rules: readonly RoleRule[] = [
  { role: "ids", name: idNames, dtypes: integer, ranks: [1, 2] },
  {
    role: "attention-mask",
    name: /^((decoder_|input_)?(attention_)?mask)$/,
    dtypes: /^(int(32|64)|float(16|32)|bool)$/,
    ranks: [1, 2],
  },
  { role: "position-ids", name: /^position(_id)?s?$/, dtypes: integer, ranks: [1, 2] },
  { role: "token-type-ids", name: /^(token_type|segment)_ids$/, dtypes: integer, ranks: [1, 2] },
  {
    role: "cache",
    name: /^past([._]|$)|past_key_values|(^|[._])cache([._]|$)/,
    dtypes: /^float(16|32)$/,
    ranks: [3, 4, 5],
  },
  { role: "use-cache-branch", name: /^use_cache(_branch)?$/, dtypes: /^bool$/, ranks: [0, 1] },
  { role: "cache-position", name: /^cache_position$/, dtypes: integer, ranks: [1] },
  { role: "logits-to-keep", name: /^(num_)?logits_to_keep$/, dtypes: integer, ranks: [0, 1] },
];

/**
 * Finds the role of every input. The ids are the input named so, else the only integer input [sequence] or
 * [batch, sequence] without another role.
 *
 * @returns undefined when the graph has no token id input: it is no language model.
 */
export function languageModelInputs(graph: Graph): LanguageModelInputs | undefined {
  const roles = new Map<string, LanguageModelRole>();
  const rest: ValueInfo[] = [];
  for (const info of graph.inputs) {
    const role = rules.find((rule) => obeys(info, rule))?.role;
    if (role) roles.set(info.name, role);
    else rest.push(info);
  }
  const named = graph.inputs.find(({ name }) => roles.get(name) === "ids");
  const candidates = rest.filter(
    (info) => integer.test(info.dtype ?? "") && [1, 2].includes(info.shape?.length ?? 0),
  );
  const ids = named ?? (candidates.length === 1 ? candidates[0] : undefined);
  if (!ids) return undefined;
  roles.set(ids.name, "ids");
  const shape = ids.shape ?? [];
  return {
    ids: ids.name,
    roles,
    unknown: rest
      .filter((info) => info !== ids && !graph.initializers.has(info.name))
      .map((info) => info.name),
    fixedBatch: shape.length === 2 ? fixed(shape[0]) : 1,
    fixedSequence: fixed(shape[shape.length - 1]),
    vocabularySize: graphVocabularySize(graph, ids.name),
  };
}

function obeys(info: ValueInfo, rule: RoleRule): boolean {
  return (
    rule.name.test(info.name) &&
    rule.dtypes.test(info.dtype ?? "") &&
    rule.ranks.includes(info.shape?.length ?? -1)
  );
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
