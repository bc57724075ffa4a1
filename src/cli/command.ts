/**
 * What a command is: plain data and one function. Parsing, validation and help come from it; commander is used here
 * and nowhere else. Invariant: nothing here prints or ends the process.
 */
import { Command, CommanderError, Help, InvalidArgumentError, Option } from "commander";
import type { Event } from "../index.ts";
import type { Style } from "./style.ts";

/** One option; the type of its value follows from `parse`, `repeat` and `required`. */
export interface OptionSpec<T> {
  /** As commander writes them: "-o, --output <file>". */
  readonly flags: string;
  readonly help: string;
  /** Reads the text of one value; throws `UsageError` or a `BitloomError`. Flags without a value have none. */
  readonly parse?: ((text: string) => unknown) | undefined;
  readonly choices?: readonly string[] | undefined;
  readonly required?: boolean | undefined;
  /** May be given more than once; the value is a list. */
  readonly repeat?: boolean | undefined;
  /** Listed under "Advanced options". */
  readonly advanced?: boolean | undefined;
  /** Carries the type only. */
  readonly type?: T | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: options of any type; `ValuesOf` gives each its own back
export type OptionSpecs = Readonly<Record<string, OptionSpec<any>>>;

export type ValuesOf<S extends OptionSpecs> = {
  readonly [K in keyof S]: S[K] extends OptionSpec<infer T> ? T : never;
};

/** A wrong value; the message says what was expected. */
export class UsageError extends Error {}

export interface CommandContext {
  readonly signal: AbortSignal;
  readonly onEvent: (event: Event) => void;
  /** Shows a part of the result as soon as it is there; nothing with --json. */
  readonly print: (text: string) => void;
}

/** What a command did: a JSON document, and the same for people. */
export interface Outcome {
  readonly document: object;
  text(style: Style): string;
  /** What is said about the result on standard error; nothing with --json or --quiet. */
  summary?(style: Style): string;
}

export interface CommandDefinition<S extends OptionSpecs = OptionSpecs> {
  /** The verb; "" for the command that does all of it. */
  readonly name: string;
  readonly summary: string;
  /** Names of the positional arguments, all required. */
  readonly arguments: readonly string[];
  readonly options: S;
  readonly examples: readonly string[];
  /** The result comes in parts, so notices are shown when they arise and not with it. */
  readonly streams?: boolean | undefined;
  /** Further help text. */
  readonly details?: (() => string) | undefined;
  run(args: readonly string[], values: ValuesOf<S>, context: CommandContext): Promise<Outcome>;
}

/** Keeps inference between `options` and `run`. */
export const defineCommand = <const S extends OptionSpecs>(
  definition: CommandDefinition<S>,
): CommandDefinition<S> => definition;

export type Parsed =
  | { readonly kind: "run"; readonly args: readonly string[]; readonly values: object }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "usage"; readonly message: string };

/** Text fits a terminal of 80 columns. */
const helpColumns = 80;

/** Reads the arguments of one command, without its verb. */
export function parseArguments(definition: CommandDefinition, argv: readonly string[]): Parsed {
  const command = toCommander(definition);
  try {
    command.parse(argv as string[], { from: "user" });
    const values = command.opts();
    // Not left to commander: it would name a missing option before the misspelt one that was meant.
    const missing = Object.entries(definition.options).find(
      ([key, { required }]) => required && values[key] === undefined,
    );
    if (missing) return { kind: "usage", message: `Missing option ${missing[1].flags}` };
    return { kind: "run", args: command.args, values };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.helpDisplayed")
      return { kind: "help", text: helpText(definition) };
    return {
      kind: "usage",
      message: capitalized(error.message.replace(/^error: /, "").replaceAll("\n", " ")),
    };
  }
}

/** Usage line, options, methods, examples. */
export function helpText(definition: CommandDefinition): string {
  const command = toCommander(definition);
  const { examples, details } = definition;
  const extra = [
    details?.().trimEnd(),
    `Examples:\n${examples.map((example) => `  $ ${example}`).join("\n")}`,
  ];
  return [command.helpInformation().trimEnd(), ...extra.filter((part) => part), ""].join("\n\n");
}

function toCommander({ name, summary, arguments: names, options }: CommandDefinition): Command {
  const command = new Command(name === "" ? "quantize" : `quantize ${name}`);
  command
    .description(summary)
    .usage(usageOf(names, options))
    .helpOption("-h, --help", "show this help")
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .configureHelp({
      helpWidth: helpColumns,
      optionDescription: ({ description }) => description,
    }).createHelp = () => Object.assign(new HelpWithoutArguments(), command.configureHelp());
  for (const argument of names) command.argument(`<${argument}>`);
  for (const [key, spec] of Object.entries(options)) addOption(command, key, spec);
  return command;
}

/** "<model> -o <file> [options]": arguments and required options. */
function usageOf(names: readonly string[], options: OptionSpecs): string {
  const required = Object.values(options).filter((spec) => spec.required);
  const flags = required.map(({ flags }) => flags.replace(/--\S+, |, --\S+/, ""));
  return [...names.map((name) => `<${name}>`), ...flags, "[options]"].join(" ");
}

/** The usage line names the arguments already. */
class HelpWithoutArguments extends Help {
  override visibleArguments(): [] {
    return [];
  }
}

function addOption(command: Command, key: string, spec: OptionSpec<unknown>): void {
  const option = new Option(spec.flags, spec.help);
  if (option.attributeName() !== key) throw new Error(`bug in bitloom: option ${key} is misnamed`);
  option.helpGroup(spec.advanced ? "Advanced options:" : "Options:");
  const { parse = (text: string) => text, choices, repeat = false } = spec;
  const isFlag = !option.required && !option.optional;
  if (!isFlag) {
    option.argParser((text: string, before: unknown) => {
      if (choices && !choices.includes(text)) {
        throw new InvalidArgumentError(`Expected one of ${choices.join(", ")}.`);
      }
      const value = parsed(parse, text);
      return repeat ? [...((before as unknown[]) ?? []), value] : value;
    });
  }
  command.addOption(option);
}

function parsed(parse: (text: string) => unknown, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof UsageError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

const capitalized = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
