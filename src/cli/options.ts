/** The options of all commands, each written once, and how their values are read. */
import {
  allocators,
  type BosOption,
  corrections,
  type Pin,
  parseBudget,
  parseFormats,
  parsePin,
  protocols,
  quantizers,
  scorers,
  targets,
  type WeightFormat,
} from "../index.ts";
import { type OptionSpec, UsageError } from "./command.ts";

/** An option that may be left out. */
export type Maybe<T> = OptionSpec<T | undefined>;

interface Range {
  readonly min: number;
  readonly max?: number;
}

/** A whole number in decimal digits. */
export const wholeNumber = ({ min, max = Number.MAX_SAFE_INTEGER }: Range) => {
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new UsageError(`Expected a whole number ${range}.`);
  };
};

/** A finite number above zero. */
export function positiveNumber(text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && Number.isFinite(value)) return value;
  throw new UsageError("Expected a number above zero.");
}

/** A number from 0 to 1. */
function fraction(text: string): number {
  const value = /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1) return value;
  throw new UsageError("Expected a number from 0 to 1.");
}

const sizeUnits = { KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 } as const;

/** "512MB" → bytes. */
function byteSize(text: string): number {
  const [, number, unit] = /^(\d+\.?\d*)\s*([kmg]i?b)$/i.exec(text) ?? [];
  if (!unit) throw new UsageError("Expected a size such as 512MB or 2GiB.");
  return Math.round(Number(number) * sizeUnits[unit.toUpperCase() as keyof typeof sizeUnits]);
}

/** "3" or "3%" → 0.03. */
const percentage = (text: string): number => positiveNumber(text.replace(/%$/, "")) / 100;

function bosToken(text: string): BosOption {
  if (text === "auto" || text === "none") return text;
  if (/^\d+$/.test(text)) return wholeNumber({ min: 0, max: 2 ** 31 - 1 })(text);
  throw new UsageError("Expected auto, none or a token id.");
}

/** The form of a report follows from its name. */
function reportName(text: string): string {
  if (/\.(html?|json)$/i.test(text)) return text;
  throw new UsageError("Expected a name that ends in .html or .json.");
}

/** Checked here, so that a typing error is one of usage; handed on as written. */
function budgetText(text: string): string {
  parseBudget(text);
  return text;
}

const maxSeed = 2 ** 32 - 1;
const maxThreads = 256;

type NameOf<R> = Extract<keyof R, string>;
const names = <R extends object>(registry: R) => Object.keys(registry) as NameOf<R>[];

export const budget: Maybe<string> = {
  flags: "-b, --budget <size>",
  help: "bits per weight (3.5bpw), file size (2.4MB) or share of the float file (25%)",
  parse: budgetText,
};

/** Where the result goes. */
export const output = (help: string): OptionSpec<string> => ({
  flags: "-o, --output <file>",
  help,
  required: true,
});

export const dataOptions = {
  calibration: {
    flags: "-c, --calibration <file>",
    help: "text, .jsonl manifest of feeds or .npy array; random inputs when left out",
  } as Maybe<string>,
  evaluate: {
    flags: "-e, --evaluate <file>",
    help: "data to report quality on; held-out calibration data when left out",
  } as Maybe<string>,
  tokenizer: {
    flags: "-t, --tokenizer <file>",
    help: "tokenizer.json of the model; found beside the model or the text when left out",
  } as Maybe<string>,
  window: {
    flags: "--window <tokens>",
    help: "tokens per window of text; beside --protocol of calibration text only (default: 256, or what the model fixes)",
    parse: wholeNumber({ min: 1 }),
    advanced: true,
  } as Maybe<number>,
  protocol: {
    flags: "--protocol <name>",
    help: `how --evaluate text is cut: ${names(protocols).join(" or ")} (default: --window)`,
    choices: names(protocols),
    advanced: true,
  } as Maybe<string>,
  rows: {
    flags: "--rows <n>",
    help: "calibration samples, windows of text (default: 128)",
    parse: wholeNumber({ min: 1 }),
    advanced: true,
  } as Maybe<number>,
  evaluateRows: {
    flags: "--evaluate-rows <n>",
    help: "most samples to report quality on (default: 128)",
    parse: wholeNumber({ min: 1 }),
    advanced: true,
  } as Maybe<number>,
  bos: {
    flags: "--bos <token>",
    help: "beginning of sequence: auto (as the tokenizer says), none or a token id; beside --protocol of calibration text only",
    parse: bosToken,
    advanced: true,
  } as Maybe<BosOption>,
};

export const scorer: Maybe<NameOf<typeof scorers>> = {
  flags: "-s, --scorer <name>",
  help: "predicts the damage of each choice (default: measured-kl)",
  choices: names(scorers),
};

export const allocator: Maybe<NameOf<typeof allocators>> = {
  flags: "-a, --allocator <name>",
  help: "chooses one format per layer (default: knapsack)",
  choices: names(allocators),
};

export const quantizer: Maybe<NameOf<typeof quantizers>> = {
  flags: "-q, --quantizer <name>",
  help: "turns weights into codes (default: gptq, or as the plan says)",
  choices: names(quantizers),
};

export const target: Maybe<NameOf<typeof targets>> = {
  flags: "--target <name>",
  help: "how codes appear in the graph (default: portable, or as the plan says)",
  choices: names(targets),
};

export const formats: Maybe<readonly WeightFormat[]> = {
  flags: "-f, --formats <list>",
  help: "formats on offer: widths or ids, such as 4,8 or int4-b32,int8-b128-asym,float16 (default: every width, blocks of 32, 64, 128, symmetric and asymmetric)",
  parse: parseFormats,
};

/** Narrow what the allocator may choose. */
export const constraintOptions = {
  pin: {
    flags: "-p, --pin <pattern=format>",
    help: "fixes the format of layers, such as '*lm_head*=int8-b32'; repeatable, last match wins",
    parse: parsePin,
    repeat: true,
  } as Maybe<readonly Pin[]>,
  minBits: {
    flags: "--min-bits <n>",
    help: "fewest bits of integer formats",
    parse: wholeNumber({ min: 1, max: 32 }),
    advanced: true,
  } as Maybe<number>,
  maxBits: {
    flags: "--max-bits <n>",
    help: "most bits of integer formats",
    parse: wholeNumber({ min: 1, max: 32 }),
    advanced: true,
  } as Maybe<number>,
};

/** How weights become codes. */
export const quantizerOptions = {
  grid: {
    flags: "--grid <kind>",
    help: "grid of a block: mse (clip search) or min-max (default: mse)",
    choices: ["mse", "min-max"],
    advanced: true,
  } as Maybe<"mse" | "min-max">,
  activationOrder: {
    flags: "--activation-order",
    help: "gptq: columns in descending order of diag(H)",
    advanced: true,
  } as Maybe<boolean>,
  damping: {
    flags: "--damping <x>",
    help: "gptq: share of mean diag(H) added to the diagonal (default: 0.01)",
    parse: positiveNumber,
    advanced: true,
  } as Maybe<number>,
};

export const memoryLimit: Maybe<number> = {
  flags: "--memory-limit <size>",
  help: "weights open at once, half as much of activations, a quarter of statistics and codes; the rest stays in files (default: 512MB)",
  parse: byteSize,
  advanced: true,
};

/** How errors are carried from layer to layer. */
export const propagationOptions = {
  correction: {
    flags: "--correction <name>",
    help: "moves weights against the error that reaches them (default: auto)",
    choices: names(corrections),
  } as Maybe<NameOf<typeof corrections>>,
  correctionAlpha: {
    flags: "--correction-alpha <x>",
    help: "strength of the correction, 0 to 1 (default: the method's)",
    parse: fraction,
    advanced: true,
  } as Maybe<number>,
  correctionDamping: {
    flags: "--correction-damping <x>",
    help: "damping of the correction, relative (default: the method's)",
    parse: positiveNumber,
    advanced: true,
  } as Maybe<number>,
  oneShot: {
    flags: "--one-shot",
    help: "rounds every layer by itself, on float activations: faster, less exact",
  } as Maybe<boolean>,
  memoryLimit,
  checkpoint: {
    flags: "--checkpoint <folder>",
    help: "where finished layers wait for the output, so that an interrupted run goes on (default: <output>.checkpoint)",
    advanced: true,
  } as Maybe<string>,
};

export const stats: Maybe<string> = {
  flags: "--stats <file>",
  help: "statistics of quantize calibrate, used instead of collecting them",
  advanced: true,
};

/** How the file is written, and what must hold for it to be. */
export const outputOptions = {
  functionBody: {
    flags: "--function-body <kind>",
    help: "3 and 5 bits in other runtimes: folded (fast), packed (small) or auto",
    choices: ["auto", "folded", "packed"],
    advanced: true,
  } as Maybe<"auto" | "folded" | "packed">,
  externalData: {
    flags: "--external-data <when>",
    help: "weights in a file of their own: always, never or auto (above 1.8 GB)",
    choices: ["auto", "always", "never"],
    advanced: true,
  } as Maybe<"auto" | "always" | "never">,
  maxKl: {
    flags: "--max-kl <nats>",
    help: "writes nothing and exits with 3 above this KL divergence per token",
    parse: positiveNumber,
    advanced: true,
  } as Maybe<number>,
  maxPerplexityIncrease: {
    flags: "--max-perplexity-increase <percent>",
    help: "writes nothing and exits with 3 above this rise of perplexity",
    parse: percentage,
    advanced: true,
  } as Maybe<number>,
  report: {
    flags: "--report <file>",
    help: "writes the report to a file too: a page where the name ends in .html, JSON in .json; repeatable",
    parse: reportName,
    repeat: true,
  } as Maybe<readonly string[]>,
};

export const force: Maybe<boolean> = { flags: "--force", help: "replaces existing files" };

export const seed: Maybe<number> = {
  flags: "--seed <n>",
  help: "of everything random (default: 0)",
  parse: wholeNumber({ min: 0, max: maxSeed }),
  advanced: true,
};

export const threads: Maybe<number> = {
  flags: "--threads <n>",
  help: "worker threads; they change the time, never the result (default: 2)",
  parse: wholeNumber({ min: 1, max: maxThreads }),
  advanced: true,
};

export const strict: Maybe<boolean> = {
  flags: "--strict",
  help: "stops at the first notice",
  advanced: true,
};

/** Every command takes these. */
export const displayOptions = {
  json: {
    flags: "--json",
    help: "prints one JSON document on standard output",
  } as Maybe<boolean>,
  quiet: {
    flags: "--quiet",
    help: "no progress and no notices on standard error",
  } as Maybe<boolean>,
};

/** What the stages from data to scores share. */
export const stageOptions = {
  ...dataOptions,
  scorer,
  quantizer,
  target,
  formats,
  ...quantizerOptions,
  seed,
  threads,
  strict,
};
