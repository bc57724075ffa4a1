/**
 * The language model that a benchmark runs on: the embedded one, or files that the user names. A single text is cut in
 * halves by characters, the first to calibrate, the second to evaluate, so that no text is in both.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { count, file, text } from "./arguments.ts";
import { projectFolder } from "./environment.ts";
import { openScratch } from "./scratch.ts";

const embedded = (name: string) => join(projectFolder, "calibration", "tiny-lm", name);

export const subjectOptions = {
  model: file("the float model; the embedded tiny-lm by default"),
  tokenizer: file("its tokenizer.json; by default the one beside the model"),
  text: file("text to calibrate on"),
  evaluate: file("text to evaluate on; without it --text is cut in halves"),
  name: text("what results call the model; by default its file's name"),
  rows: count("windows to calibrate on", 64),
  "evaluate-rows": count("windows to evaluate on", 120),
};

export interface SubjectArguments {
  readonly model: string | undefined;
  readonly tokenizer: string | undefined;
  readonly text: string | undefined;
  readonly evaluate: string | undefined;
  readonly name: string | undefined;
  readonly rows: number;
  readonly "evaluate-rows": number;
}

export interface Subject {
  readonly name: string;
  readonly model: string;
  /** Options of the data, as `openLab` and `quantize` take them. */
  readonly data: {
    readonly calibration: string;
    readonly evaluate: string;
    readonly tokenizer: string | undefined;
    readonly window: number;
    readonly rows: number;
    readonly evaluateRows: number;
    readonly seed: number;
  };
}

/** Tokens per window: tiny-lm's context. */
const window = 256;

/** The subject of a run; the halves of a text are removed when the process ends. */
export function openSubject(args: SubjectArguments): Subject {
  const { model = embedded("model.onnx") } = args;
  if (args.model && !args.text) {
    throw new Error("A model of your own needs a text of its own: give one with --text.");
  }
  const stem = basename(model).replace(/\.onnx$/, "");
  return {
    name: args.name ?? (args.model ? stem : "tiny-lm"),
    model,
    data: {
      ...textsOf(args),
      tokenizer: args.tokenizer,
      window,
      rows: args.rows,
      evaluateRows: args["evaluate-rows"],
      seed: 0,
    },
  };
}

function textsOf({ text: given, evaluate }: SubjectArguments): {
  readonly calibration: string;
  readonly evaluate: string;
} {
  const calibration = given ?? embedded("calibration.txt");
  if (evaluate) return { calibration, evaluate };
  if (!given) return { calibration, evaluate: embedded("evaluation.txt") };
  const folder = openScratch().path;
  const whole = readFileSync(given, "utf8");
  const half = Math.floor(whole.length / 2);
  const [first, second] = ["first-half.txt", "second-half.txt"].map((name) => join(folder, name));
  writeFileSync(first, whole.slice(0, half));
  writeFileSync(second, whole.slice(half));
  return { calibration: first, evaluate: second };
}
