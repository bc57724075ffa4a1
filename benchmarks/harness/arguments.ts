/**
 * Arguments of the benchmark scripts, strict: what is unknown, malformed or out of range is an error that says what was
 * expected. Not for the command, which has `src/cli`. Invariant: a value that is read is valid.
 */
import { parseArgs } from "node:util";

/** One option of a script, `--name`. */
export interface Option<T> {
  readonly about: string;
  /** What follows the name; none for a flag. */
  readonly value: string | undefined;
  readonly isRepeated: boolean;
  /**
   * @param given - every value on the command line, in order; a flag's is "".
   * @throws Error - a value is not of the expected kind; the message is "expected …, got …".
   */
  read(given: readonly string[]): T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [Name in keyof O]: ReturnType<O[Name]["read"]> };

export class ArgumentError extends Error {}

export const flag = (about: string): Option<boolean> => ({
  about,
  value: undefined,
  isRepeated: false,
  read: (given) => given.length > 0,
});

const single = <T, D>(
  about: string,
  value: string,
  byDefault: D,
  parse: (text: string) => T,
): Option<T | D> => ({
  about,
  value,
  isRepeated: false,
  read: (given) => (given.length === 0 ? byDefault : parse(given[given.length - 1])),
});

const words = (text: string) => {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.some((part) => part === ""))
    throw new Error(`expected a list like "a,b", got "${text}"`);
  return parts;
};

export function file(about: string): Option<string | undefined>;
export function file(about: string, byDefault: string): Option<string>;
export function file(about: string, byDefault?: string): Option<string | undefined> {
  return single(about, "FILE", byDefault, filled);
}

export function text(about: string): Option<string | undefined>;
export function text(about: string, byDefault: string): Option<string>;
export function text(about: string, byDefault?: string): Option<string | undefined> {
  return single(about, "TEXT", byDefault, filled);
}

/** A whole number, by default at least 1. */
export const count = (about: string, byDefault: number, least = 1): Option<number> =>
  single(about, "N", byDefault, (given) => {
    const value = Number(given);
    if (/^\d+$/.test(given) && value >= least) return value;
    throw new Error(`expected a whole number of at least ${least}, got "${given}"`);
  });

/** A number above zero, or none. */
export const amount = (about: string): Option<number | undefined> =>
  single(about, "NUMBER", undefined, positive);

/** Numbers above zero, separated by commas. */
export const numbers = (about: string, byDefault: readonly number[]): Option<readonly number[]> =>
  single(about, "LIST", byDefault, (given) => words(given).map(positive));

/** Words from a list of choices, separated by commas. */
export const names = <N extends string>(
  about: string,
  choices: readonly N[],
  byDefault: readonly N[] = choices,
): Option<readonly N[]> =>
  single(about, "LIST", byDefault, (given) => words(given).map((word) => chosen(word, choices)));

/** One word from a list of choices. */
export const choice = <N extends string>(
  about: string,
  choices: readonly N[],
  byDefault: N,
): Option<N> => single(about, "NAME", byDefault, (given) => chosen(given, choices));

/** May be given several times. */
export const repeated = (about: string): Option<readonly string[]> => ({
  about,
  value: "TEXT",
  isRepeated: true,
  read: (given) => given.map(filled),
});

/**
 * Reads the arguments of a script.
 *
 * @throws ArgumentError - an unknown option, a missing value, a stray word, or a value that its option refuses.
 */
export function parseArguments<O extends Options>(
  options: O,
  argv: readonly string[],
  positionals: readonly string[] = [],
): { readonly values: Values<O>; readonly positionals: readonly string[] } {
  const given = parsed(options, argv, positionals.length > 0);
  if (given.positionals.length !== positionals.length) {
    const wanted = positionals.length === 0 ? "no further words" : positionals.join(" ");
    throw new ArgumentError(`expected ${wanted}, got "${given.positionals.join(" ")}"`);
  }
  const values = Object.entries(options).map(([name, option]) => {
    const found = given.values[name];
    const list = found === undefined ? [] : found === true ? [""] : [found].flat();
    try {
      return [name, option.read(list as string[])];
    } catch (error) {
      throw new ArgumentError(`--${name}: ${error instanceof Error ? error.message : error}`);
    }
  });
  return { values: Object.fromEntries(values) as Values<O>, positionals: given.positionals };
}

function parsed(options: Options, argv: readonly string[], allowPositionals: boolean) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals,
      options: Object.fromEntries(
        Object.entries(options).map(([name, { value, isRepeated }]) => [
          name,
          { type: value ? "string" : "boolean", multiple: isRepeated } as const,
        ]),
      ),
    });
  } catch (error) {
    throw new ArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * The arguments of this process. `--help` prints how the script is used and ends it; arguments that are wrong end it
 * with exit code 2.
 *
 * @param script - name of the npm script, "bench:kernels".
 */
export function readArguments<O extends Options>(
  script: string,
  options: O,
  positionals: readonly string[] = [],
): { readonly values: Values<O>; readonly positionals: readonly string[] } {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    console.log(usage(script, options, positionals));
    process.exit(0);
  }
  try {
    return parseArguments(options, argv, positionals);
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    console.error(`${error.message}\n\n${usage(script, options, positionals)}`);
    process.exit(2);
  }
}

function usage(script: string, options: Options, positionals: readonly string[]): string {
  const rows = Object.entries(options).map(
    ([name, { value, about }]) => [`--${name}${value ? ` ${value}` : ""}`, about] as const,
  );
  const width = Math.max(0, ...rows.map(([head]) => head.length));
  const head = ["npm run", script, "--", ...positionals, "[options]"].join(" ");
  return [head, ...rows.map(([name, about]) => `  ${name.padEnd(width)}  ${about}`)].join("\n");
}

function filled(given: string): string {
  if (given.trim() !== "") return given;
  throw new Error("expected a value, got an empty one");
}

function positive(given: string): number {
  const value = Number(given);
  if (given.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new Error(`expected a number above zero, got "${given}"`);
}

function chosen<N extends string>(given: string, choices: readonly N[]): N {
  const found = choices.find((one) => one === given);
  if (found !== undefined) return found;
  throw new Error(`expected one of ${choices.join(", ")}, got "${given}"`);
}
