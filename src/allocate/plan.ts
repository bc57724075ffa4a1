/**
 * Plans as files: made from picks, written as stable JSON with one line per layer, read back strictly.
 * Not here: reading or writing the disk. Invariant: parsePlan(JSON.parse(serializePlan(plan))) equals plan.
 */
import { BitloomError } from "../core/errors.ts";
import { parseFormat } from "../core/format.ts";
import type {
  BitPlan,
  LayerAlternatives,
  LayerScore,
  PlannedLayer,
  PlannedQuantization,
} from "../core/plan.ts";
import { closestNames, quoteNames } from "./closest-names.ts";

/** What a plan records beside its layers. */
export type PlanOrigin = Pick<
  BitPlan,
  "scorer" | "allocator" | "quantizer" | "target" | "budgetBytes" | "quantize"
>;

/** The plan of a list of picks, in their order. */
export function toPlan(picks: readonly LayerScore[], origin: PlanOrigin): BitPlan {
  const { scorer, allocator, quantizer, target, budgetBytes } = origin;
  const layers = picks.map(({ layer, format, bytes, loss }) => ({
    layer,
    format: format.id,
    bytes,
    loss,
  }));
  const head = { version: 1, scorer, allocator, quantizer, target, budgetBytes } as const;
  return { ...head, ...pickQuantization(origin.quantize), layers };
}

/** In fixed key order; no key at all when there is nothing to say. */
function pickQuantization(quantize: PlannedQuantization | undefined): Pick<BitPlan, "quantize"> {
  if (!quantize) return {};
  const { grid, activationOrder, damping } = quantize;
  const given = optionalQuantizeKeys.flatMap((key) =>
    quantize[key] === undefined ? [] : [[key, quantize[key]]],
  );
  return { quantize: { grid, activationOrder, damping, ...Object.fromEntries(given) } };
}

/** JSON with fixed key order and one line per layer, made to be diffed and edited by hand; ends with a newline. */
export function serializePlan(plan: BitPlan): string {
  const { version, scorer, allocator, quantizer, target, budgetBytes } = plan;
  const quantize = pickQuantization(plan.quantize);
  const named = { version, scorer, allocator, quantizer, target, budgetBytes, ...quantize };
  const head = Object.entries(named).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)},`,
  );
  const layers = plan.layers.map(({ layer, format, bytes, loss }) => {
    const fields = Object.entries({ layer, format, bytes, loss });
    return `    { ${fields.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(", ")} }`;
  });
  const list = layers.length === 0 ? "[]" : `[\n${layers.join(",\n")}\n  ]`;
  return `{\n${head.join("\n")}\n  "layers": ${list}\n}\n`;
}

const planKeys = [
  "version",
  "scorer",
  "allocator",
  "quantizer",
  "target",
  "budgetBytes",
  "layers",
] as const satisfies readonly (keyof BitPlan)[];

const quantizeKeys = [
  "grid",
  "activationOrder",
  "damping",
] as const satisfies readonly (keyof PlannedQuantization)[];

const optionalQuantizeKeys = [
  "correction",
  "correctionAlpha",
  "correctionDamping",
] as const satisfies readonly (keyof PlannedQuantization)[];

const layerKeys = [
  "layer",
  "format",
  "bytes",
  "loss",
] as const satisfies readonly (keyof PlannedLayer)[];

/**
 * Checks parsed JSON and returns it as a plan.
 *
 * Throws: bad-option, naming the place, for another version, a missing, unknown or ill-typed field, an unknown format
 *   or a layer that is listed twice.
 */
export function parsePlan(json: unknown): BitPlan {
  const version = isRecord(json) ? json.version : undefined;
  if (isRecord(json) && version !== 1) {
    throw badPlan("version", "1", version, "Make the plan again with this version of bitloom");
  }
  const plan = readRecord(json, "the top level", planKeys, ["quantize"]);
  if (!Array.isArray(plan.layers)) throw badPlan("layers", "a list", plan.layers);
  const layers = plan.layers.map((entry: unknown, at) => readLayer(entry, `layers[${at}]`));
  const seen = new Set<string>();
  for (const { layer } of layers) {
    if (seen.has(layer)) {
      throw planError(`layer "${layer}" is listed twice. Remove one of its lines.`, layer);
    }
    seen.add(layer);
  }
  return {
    version: 1,
    scorer: readText(plan.scorer, "scorer"),
    allocator: readText(plan.allocator, "allocator"),
    quantizer: readText(plan.quantizer, "quantizer"),
    target: readText(plan.target, "target"),
    budgetBytes: readBytes(plan.budgetBytes, "budgetBytes"),
    ...(plan.quantize === undefined ? {} : { quantize: readQuantization(plan.quantize) }),
    layers,
  };
}

function readLayer(entry: unknown, where: string): PlannedLayer {
  const { layer, format, bytes, loss } = readRecord(entry, where, layerKeys);
  const name = readText(layer, `${where}.layer`);
  if (typeof loss !== "number" || !Number.isFinite(loss) || loss < 0) {
    throw badPlan(`${where}.loss`, "a number, zero or above", loss);
  }
  return {
    layer: name,
    format: readFormatId(format, name, where),
    bytes: readBytes(bytes, `${where}.bytes`),
    loss,
  };
}

function readQuantization(value: unknown): PlannedQuantization {
  const { grid, activationOrder, damping, correction, correctionAlpha, correctionDamping } =
    readRecord(value, "quantize", quantizeKeys, optionalQuantizeKeys);
  const optionalNumber = (number: unknown, name: string): number | undefined => {
    if (number === undefined) return undefined;
    if (typeof number === "number" && Number.isFinite(number) && number >= 0) return number;
    throw badPlan(`quantize.${name}`, "a number, zero or above", number);
  };
  if (grid !== "mse" && grid !== "min-max") {
    throw badPlan("quantize.grid", '"mse" or "min-max"', grid);
  }
  if (typeof activationOrder !== "boolean") {
    throw badPlan("quantize.activationOrder", "true or false", activationOrder);
  }
  if (typeof damping !== "number" || !Number.isFinite(damping) || damping < 0) {
    throw badPlan("quantize.damping", "a number, zero or above", damping);
  }
  const named = {
    correction: correction === undefined ? undefined : readText(correction, "quantize.correction"),
    correctionAlpha: optionalNumber(correctionAlpha, "correctionAlpha"),
    correctionDamping: optionalNumber(correctionDamping, "correctionDamping"),
  };
  const given = Object.entries(named).filter(([, value]) => value !== undefined);
  return { grid, activationOrder, damping, ...Object.fromEntries(given) };
}

function readFormatId(value: unknown, layer: string, where: string): string {
  const id = readText(value, `${where}.format`);
  try {
    return parseFormat(id).id;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw planError(`layer "${layer}" (${where}): ${why}`, id, cause);
  }
}

function readText(value: unknown, where: string): string {
  if (typeof value !== "string" || value === "")
    throw badPlan(where, "a text that is not empty", value);
  return value;
}

function readBytes(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw badPlan(where, "a whole number of bytes, zero or above", value);
  }
  return value;
}

function readRecord(
  value: unknown,
  where: string,
  keys: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw badPlan(where, "an object", value);
  const missing = keys.filter((key) => !Object.hasOwn(value, key));
  const unknown = Object.keys(value).filter(
    (key) => !keys.includes(key) && !optional.includes(key),
  );
  if (missing.length === 0 && unknown.length === 0) return value;
  const got =
    missing.length > 0 ? `${quoteNames(missing)} is missing` : `${quoteNames(unknown)} is unknown`;
  throw planError(
    `at ${where}, ${got}. Expected the fields ${quoteNames(keys)}${optional.length > 0 ? ` and perhaps ${quoteNames(optional)}` : ""}.`,
    Object.keys(value).join(", "),
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function badPlan(
  where: string,
  expected: string,
  value: unknown,
  advice = "Correct it",
): BitloomError {
  const got = JSON.stringify(value) ?? "nothing";
  return planError(
    `at ${where}, expected ${expected}, got ${shorten(got)}. ${advice}, or run quantize plan.`,
    got,
  );
}

function shorten(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 39)}…`;
}

function planError(problem: string, got: string, cause?: unknown): BitloomError {
  const options = cause === undefined ? undefined : { cause };
  return new BitloomError(
    "bad-option",
    `Cannot use the plan: ${problem}`,
    { option: "plan", got },
    options,
  );
}

/**
 * The picks that a plan names, with the bytes and losses of `layers`: those in the file may be stale after an edit.
 *
 * @returns one per layer, in the order of `layers`.
 *
 * Throws: bad-option for a layer that the model does not have, one that the plan lacks, or a format that is not offered.
 */
export function picksFromPlan(plan: BitPlan, layers: readonly LayerAlternatives[]): LayerScore[] {
  const names = layers.map(({ layer }) => layer);
  const known = new Set(names);
  for (const { layer } of plan.layers) {
    if (known.has(layer)) continue;
    const close = quoteNames(closestNames(layer, names)) || "none, the model has no layers";
    throw planError(
      `layer "${layer}" is not in the model; close names: ${close}. Correct the name or remove the line.`,
      layer,
    );
  }
  const formats = new Map(plan.layers.map(({ layer, format }) => [layer, format]));
  return layers.map(({ layer, alternatives }) => {
    const id = formats.get(layer);
    if (id === undefined) {
      throw planError(
        `it says nothing about layer "${layer}". Add a line for it, or run quantize plan.`,
        layer,
      );
    }
    const pick = alternatives.find(({ format }) => format.id === id);
    if (pick) return pick;
    const offered = alternatives.map(({ format }) => format.id).join(", ") || "nothing";
    throw planError(
      `layer "${layer}" is not offered ${id}, only ${offered}. Choose one of these, or change --target.`,
      id,
    );
  });
}
