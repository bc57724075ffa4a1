/** The verbs of the command, in the order of the pipeline; `quantizeCommand` does all of it. */
import type { CommandDefinition } from "../command.ts";
import { applyCommand } from "./apply.ts";
import { calibrateCommand } from "./calibrate.ts";
import { compareCommand } from "./compare.ts";
import { evaluateCommand } from "./evaluate.ts";
import { inspectCommand } from "./inspect.ts";
import { planCommand } from "./plan.ts";
import { quantizeCommand } from "./quantize.ts";
import { runCommand } from "./run.ts";
import { scoreCommand } from "./score.ts";

export const wholeCommand = quantizeCommand as unknown as CommandDefinition;

export const verbs = [
  inspectCommand,
  calibrateCommand,
  scoreCommand,
  planCommand,
  applyCommand,
  evaluateCommand,
  compareCommand,
  runCommand,
] as unknown as readonly CommandDefinition[];
