/**
 * What the inputs of a language model are for, by the names that exporters give them, with types as a check.
 * Not here: feeding them (calibration does for windows, generation token by token).
 */
import type { DType } from "./tensor.ts";

/** What an input is for. */
export type LanguageModelRole =
  | "ids"
  | "attention-mask"
  | "position-ids"
  | "token-type-ids"
  | "cache"
  | "use-cache-branch"
  | "cache-position"
  | "logits-to-keep";

/** A graph input as it is declared. */
export interface DeclaredInput {
  readonly name: string;
  readonly dtype: DType | undefined;
  readonly shape: readonly (number | string | undefined)[] | undefined;
}

interface RoleRule {
  readonly role: LanguageModelRole;
  readonly name: RegExp;
  readonly dtypes: RegExp;
  readonly ranks: readonly number[];
}

const integer = /^int(32|64)$/;
const rules: readonly RoleRule[] = [
  {
    role: "ids",
    name: /^(decoder_)?(input_ids|token_ids|tokens|ids)$/,
    dtypes: integer,
    ranks: [1, 2],
  },
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

/** The role that an input's name, type and rank give it; undefined for any other. */
export function namedRole({ name, dtype, shape }: DeclaredInput): LanguageModelRole | undefined {
  return rules.find(
    (rule) =>
      rule.name.test(name) &&
      rule.dtypes.test(dtype ?? "") &&
      rule.ranks.includes(shape?.length ?? -1),
  )?.role;
}

/**
 * Roles of all inputs. The ids are the input named so, else the only integer input [sequence] or [batch, sequence]
 * without another role.
 *
 * @returns undefined when no input takes token ids: it is no language model.
 */
export function languageModelRoles(
  inputs: readonly DeclaredInput[],
): ReadonlyMap<string, LanguageModelRole> | undefined {
  const roles = new Map<string, LanguageModelRole>();
  for (const input of inputs) {
    const role = namedRole(input);
    if (role) roles.set(input.name, role);
  }
  if ([...roles.values()].includes("ids")) return roles;
  const candidates = inputs.filter(
    ({ name, dtype, shape }) =>
      !roles.has(name) && integer.test(dtype ?? "") && [1, 2].includes(shape?.length ?? 0),
  );
  if (candidates.length !== 1) return undefined;
  return roles.set(candidates[0].name, "ids");
}

/**
 * Shape of a cache that holds nothing yet. Fixed dimensions stay; the batch dimension is the one named so, else the
 * first; open ones named like a length, or second to last without a name, hold no past.
 *
 * @returns undefined for dimensions of which neither number nor name tells the size.
 */
export function emptyCacheShape(
  shape: DeclaredInput["shape"],
  batch: number,
): (number | undefined)[] {
  const dims = shape ?? [];
  const named = dims.findIndex((dim) => typeof dim === "string" && /batch/i.test(dim));
  return dims.map((dim, axis) => {
    if (typeof dim === "number") return dim;
    if (axis === (named === -1 ? 0 : named)) return batch;
    const isLength =
      typeof dim === "string" ? /past|seq|len|cache|total/i.test(dim) : axis === dims.length - 2;
    return isLength ? 0 : undefined;
  });
}
