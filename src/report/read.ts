/** Reports that come from a file: what is compared and drawn is checked, so that a wrong file is named as one. */
import { BitloomError } from "../core/errors.ts";
import type { QuantizeReport } from "./document.ts";

type Check = (value: unknown) => boolean;

const isNumber: Check = (value) => typeof value === "number" && Number.isFinite(value);
const isText: Check = (value) => typeof value === "string";
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Every value at `path` of a document; "*" stands for all entries of a list. */
const required: readonly (readonly [path: string, expected: string, check: Check])[] = [
  ["model.path", "a text", isText],
  ["model.sha256", "a text", isText],
  ["model.bytes", "a number", isNumber],
  ["output.path", "a text", isText],
  ["output.bytes", "a number", isNumber],
  ["options", "an object", isObject],
  ["budgetBytes", "a number", isNumber],
  ["weightBytes", "a number", isNumber],
  ["floatWeightBytes", "a number", isNumber],
  ["weights", "a number", isNumber],
  ["bitsPerWeight", "a number", isNumber],
  ["scoreUnit", "a text", isText],
  ["quality.kind", '"language" or "outputs"', (kind) => kind === "language" || kind === "outputs"],
  ["bounds", "an object", isObject],
  ["environment.peakMemoryBytes", "a number", isNumber],
  ["timings", "an object", isObject],
  ["notices", "a list", Array.isArray],
  ["notices.*.message", "a text", isText],
  ["skipped", "a list", Array.isArray],
  ["skipped.*.opType", "a text", isText],
  ["skipped.*.reason", "a text", isText],
  ["layers", "a list that is not empty", (list) => Array.isArray(list) && list.length > 0],
  ["layers.*.name", "a text", isText],
  ["layers.*.format", "a text", isText],
  ["layers.*.bits", "a number", isNumber],
  ["layers.*.bytes", "a number", isNumber],
  ["layers.*.loss", "a number", isNumber],
];

const requiredOfLanguage: typeof required = [
  ["quality.windows", "a number", isNumber],
  ["quality.topAgreement", "a number", isNumber],
  ["quality.perplexity.float", "a number", isNumber],
  ...[
    "perplexityFloat",
    "perplexityQuantized",
    "nllIncrease",
    "klDivergence",
    "klDivergence999",
    "topAgreement",
  ].flatMap((name) =>
    ["value", "low", "high"].map(
      (part) => [`quality.intervals.${name}.${part}`, "a number", isNumber] as const,
    ),
  ),
];

const requiredOfOutputs: typeof required = [
  ["quality.samples", "a number", isNumber],
  ["quality.outputs", "a list", Array.isArray],
  ["quality.outputs.*.name", "a text", isText],
  ["quality.outputs.*.cosine", "a number", isNumber],
];

/** Of what not every run has. */
const requiredWhereGiven: Readonly<Record<string, typeof required>> = {
  decision: [
    ["decision.frontier", "a list", Array.isArray],
    ["decision.frontier.*.bytes", "a number", isNumber],
    ["decision.frontier.*.loss", "a number", isNumber],
    ["decision.uniform", "a list", Array.isArray],
    ["decision.uniform.*.format", "a text", isText],
    ["decision.uniform.*.bytes", "a number", isNumber],
    ["decision.uniform.*.loss", "a number", isNumber],
    ["decision.written.bytes", "a number", isNumber],
    ["decision.written.loss", "a number", isNumber],
  ],
  gate: [["gate.samples", "a number", isNumber]],
  scores: [
    ["scores.format", "a text", isText],
    ["scores.scorers", "a list", Array.isArray],
    ["scores.scorers.*.name", "a text", isText],
    ["scores.scorers.*.losses", "a list", Array.isArray],
  ],
  propagation: [
    ["propagation.layers", "a list", Array.isArray],
    ["propagation.layers.*.layer", "a text", isText],
  ],
  errorGrowth: [
    ["errorGrowth.samples", "a number", isNumber],
    ["errorGrowth.layers", "a list", Array.isArray],
    ["errorGrowth.layers.*.layer", "a text", isText],
  ],
};

/**
 * @param path - the file, for the error.
 * @throws bad-option - no report of `quantize` or `apply`, or one of another version.
 */
export function readReport(value: unknown, path: string): QuantizeReport {
  const refuse = (why: string): never => {
    throw new BitloomError(
      "bad-option",
      `Cannot use "${path}" as a report: ${why}. Give the JSON file of quantize --report.`,
      { option: "report", got: path },
    );
  };
  if (!isObject(value)) return refuse("expected an object");
  const { command, version } = value;
  if (command !== "quantize" && command !== "apply") {
    const got = typeof command === "string" ? `that of "${command}"` : "another document";
    return refuse(`expected the report of a run of quantize or apply, got ${got}`);
  }
  if (version !== 1) refuse(`expected version 1, got ${JSON.stringify(version)}`);
  if ("error" in value) refuse("the run failed, so there is nothing to compare");
  const language = isObject(value.quality) && value.quality.kind === "language";
  const checks = [
    ...required,
    ...(language ? requiredOfLanguage : requiredOfOutputs),
    ...Object.entries(requiredWhereGiven).flatMap(([part, checks]) => (value[part] ? checks : [])),
  ];
  for (const [place, expected, check] of checks) {
    if (!valuesAt(value, place.split(".")).every(check)) refuse(`expected ${expected} at ${place}`);
  }
  return value as unknown as QuantizeReport;
}

function valuesAt(value: unknown, [first, ...rest]: readonly string[]): unknown[] {
  if (first === undefined) return [value];
  if (first === "*") return (value as unknown[]).flatMap((entry) => valuesAt(entry, rest));
  return isObject(value) ? valuesAt(value[first], rest) : [undefined];
}
