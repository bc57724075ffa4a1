/** `quantize MODEL -o OUT --budget B`: all of it. */
import {
  BitloomError,
  checkOutputs,
  loadPlan,
  loadStatistics,
  type QuantizeOptions,
  type QuantizeReport,
  quantize,
  savePlan,
  saveReport,
} from "../../index.ts";
import { type CommandContext, defineCommand, type ValuesOf } from "../command.ts";
import { commandLine } from "../command-line.ts";
import { describeMethods } from "../methods.ts";
import {
  allocator,
  budget,
  constraintOptions,
  displayOptions,
  force,
  type Maybe,
  output,
  outputOptions,
  propagationOptions,
  stageOptions,
  stats,
} from "../options.ts";
import { quantizeText } from "../quantize-text.ts";

const options = {
  output: output("where the quantized model goes"),
  budget,
  ...stageOptions,
  allocator,
  ...constraintOptions,
  plan: {
    flags: "--plan <file>",
    help: "applies a saved plan; nothing is scored, no budget is needed",
    advanced: true,
  } as Maybe<string>,
  savePlan: {
    flags: "--save-plan <file>",
    help: "writes the plan, to be edited and applied again",
  } as Maybe<string>,
  stats,
  ...propagationOptions,
  ...outputOptions,
  force,
  ...displayOptions,
};

type Values = ValuesOf<typeof options>;

export const quantizeCommand = defineCommand({
  name: "",
  summary: "Quantizes an ONNX model inside a bit budget and says what it cost in quality.",
  arguments: ["model"],
  options,
  examples: [
    "quantize model.onnx -o small.onnx -b 3.5bpw -c text.txt --report report.html",
    "quantize model.onnx -o small.onnx -b 25% -c feeds.jsonl -p '*head*=int8-b32'",
    "quantize model.onnx -o small.onnx -b 4bpw -s weight-error -q rtn --json",
  ],
  details: () =>
    [
      "Commands, each with its own --help:",
      "  inspect    what can be quantized, and how small",
      "  calibrate  collects statistics into a file",
      "  score      measures what each format costs each layer",
      "  plan       solves for a budget, from saved scores",
      "  apply      quantizes as a saved plan says",
      "  evaluate   compares a quantized model with the float one",
      "  compare    the reports of two runs beside each other",
      "  run        generates text, and says how fast",
      "A model named like a command is given as ./plan. --version prints the version.",
      "",
      describeMethods(["scorer", "allocator", "quantizer", "correction", "target"]),
    ].join("\n"),
  async run([model], values, context) {
    const report = await runQuantize(model, values, context);
    return {
      document: report,
      text: (style) =>
        quantizeText(report, style, {
          heldOut: values.evaluate === undefined,
          reports: values.report,
        }),
    };
  },
});

/** Shared with `apply`, which is this command with a plan. */
export async function runQuantize(
  model: string,
  values: Values,
  context: CommandContext,
  command = "quantize",
): Promise<QuantizeReport> {
  refuseChoiceWithPlan(values);
  const { output, report: reports = [], force = false } = values;
  const side = [...(values.savePlan === undefined ? [] : [values.savePlan]), ...reports];
  const inputs = inputsOf(model, values);
  const { tokenizer } = values;
  await checkOutputs([output, ...side], { inputs, force, model, tokenizer, writtenModel: output });
  const { report, plan } = await quantize(model, await toOptions(values, context));
  const document = { ...report, command, commandLine: commandLine(process.argv.slice(2)) };
  if (values.savePlan !== undefined) await savePlan(plan, values.savePlan, { inputs, force });
  for (const path of reports) await saveReport(document, path, { inputs, force });
  return document;
}

/** A saved plan has chosen already: what chooses formats would be ignored. */
function refuseChoiceWithPlan(values: Values): void {
  if (values.plan === undefined) return;
  const choosing = [
    "budget",
    "scorer",
    "allocator",
    "formats",
    "pin",
    "minBits",
    "maxBits",
  ] as const;
  const given = choosing.find((key) => values[key] !== undefined);
  if (given === undefined) return;
  const flag = options[given].flags.replace(/^-., | <.*$/g, "");
  throw new BitloomError(
    "bad-option",
    `Option ${flag} does nothing beside --plan, which names every layer's format. Leave one of them out.`,
    { option: flag.slice(2) },
  );
}

async function toOptions(values: Values, context: CommandContext): Promise<QuantizeOptions> {
  const { pin, plan, stats, maxKl, oneShot, memoryLimit } = values;
  return {
    ...values,
    ...context,
    pins: pin,
    plan: plan === undefined ? undefined : await loadPlan(plan),
    statistics: stats === undefined ? undefined : await loadStatistics(stats),
    maxKlDivergence: maxKl,
    sequential: oneShot === undefined ? undefined : !oneShot,
    memoryLimitBytes: memoryLimit,
  };
}

/** Every file a run reads; none of them may be overwritten. */
export function inputsOf(
  model: string,
  files: {
    readonly calibration?: string | undefined;
    readonly evaluate?: string | undefined;
    readonly tokenizer?: string | undefined;
    readonly plan?: string | undefined;
    readonly stats?: string | undefined;
  },
): string[] {
  const { calibration, evaluate, tokenizer, plan, stats } = files;
  return [model, calibration, evaluate, tokenizer, plan, stats].filter(
    (path) => path !== undefined,
  );
}
