/** `quantize run MODEL --prompt TEXT`: text from a language model, on the kernels. */
import { BitloomError, type GenerationReport, generateText } from "../../index.ts";
import { defineCommand, type OptionSpec, UsageError } from "../command.ts";
import { counted, duration, percent } from "../numbers.ts";
import {
  dataOptions,
  displayOptions,
  type Maybe,
  positiveNumber,
  seed,
  wholeNumber,
} from "../options.ts";
import type { Style } from "../style.ts";
import { facts } from "../table.ts";

export const runCommand = defineCommand({
  name: "run",
  summary: "Generates text with a language model and says how fast.",
  arguments: ["model"],
  streams: true,
  options: {
    prompt: {
      flags: "--prompt <text>",
      help: "text to continue",
      required: true,
    } as OptionSpec<string>,
    tokenizer: {
      flags: dataOptions.tokenizer.flags,
      help: "tokenizer.json of the model; found beside the model when left out",
    } as Maybe<string>,
    tokens: {
      flags: "-n, --tokens <n>",
      help: "most tokens to generate (default: 64)",
      parse: wholeNumber({ min: 1 }),
    } as Maybe<number>,
    temperature: {
      flags: "--temperature <t>",
      help: "0 takes the most probable token, 1 draws as the model says (default: 0)",
      parse: numberFromZero,
    } as Maybe<number>,
    topK: {
      flags: "--top-k <n>",
      help: "draws among the n most probable tokens only",
      parse: wholeNumber({ min: 1 }),
    } as Maybe<number>,
    topP: {
      flags: "--top-p <p>",
      help: "draws among the fewest tokens that have this probability together",
      parse: probability,
    } as Maybe<number>,
    precision: {
      flags: "--precision <kind>",
      help: "fast: 8-bit activations where they are faster; exact: 16 bits (default: fast)",
      choices: ["fast", "exact"],
      advanced: true,
    } as Maybe<"fast" | "exact">,
    bos: {
      ...dataOptions.bos,
      help: "beginning of sequence: auto (as the tokenizer says), none or a token id",
    },
    seed,
    threads: {
      flags: "--threads <n>",
      help: "threads that compute; they change the time, never the text (default: one per core, at most 4)",
      parse: wholeNumber({ min: 1, max: 56 }),
      advanced: true,
    } as Maybe<number>,
    ...displayOptions,
  },
  examples: [
    "quantize run small.onnx --prompt 'Fellow citizens' -n 100",
    "quantize run small.onnx --prompt 'Call me' --temperature 0.8 --top-k 40",
    "quantize run small.onnx -t tokenizer.json --prompt 'It was' --json",
  ],
  details: () => "Only the new text goes to standard output; the speed goes to standard error.",
  async run([model], values, context) {
    refuseBesideGreedy(values);
    const { tokens: maxNewTokens, ...rest } = values;
    const report = await generateText(model, {
      ...rest,
      ...context,
      maxNewTokens,
      onText: context.print,
    });
    return { document: report, text: () => "", summary: (style) => summaryText(report, style) };
  },
});

function numberFromZero(text: string): number {
  return /^0+(\.0*)?$/.test(text) ? 0 : positiveNumber(text);
}

function probability(text: string): number {
  const value = positiveNumber(text);
  if (value <= 1) return value;
  throw new UsageError("Expected a number above 0, at most 1.");
}

/** Nothing is drawn at temperature 0. */
function refuseBesideGreedy(values: {
  readonly temperature?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
}): void {
  if ((values.temperature ?? 0) > 0) return;
  const flag = values.topK !== undefined ? "top-k" : values.topP !== undefined ? "top-p" : "";
  if (flag === "") return;
  throw new BitloomError(
    "bad-option",
    `Option --${flag} does nothing at temperature 0, where nothing is drawn. Give a --temperature or leave it out.`,
    { option: flag },
  );
}

function summaryText(report: GenerationReport, style: Style): string {
  const { promptTokens, tokens, tokensPerSecond, nodes, timings } = report;
  const speed = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} tokens/s`;
  const entries: [string, string][] = [
    ["Prompt", `${counted(promptTokens.length, "token")}, ${speed(tokensPerSecond.prompt)}`],
    [
      "Decode",
      tokensPerSecond.decode === null
        ? counted(tokens.length, "token")
        : `${counted(tokens.length, "token")}, ${speed(tokensPerSecond.decode)}`,
    ],
    ["Open", duration(timings.open)],
  ];
  if (nodes.fallback > 0) {
    entries.push([
      "Fallback",
      `${nodes.fallback} of ${counted(nodes.total, "node")} on ONNX Runtime, ${percent(report.fallbackTime)} of the time`,
    ]);
  }
  return `\n${facts(entries, style)}`;
}
