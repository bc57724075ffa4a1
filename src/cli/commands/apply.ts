/** `quantize apply MODEL --plan PLAN -o OUT`: quantizes as a saved plan says. */
import { defineCommand, type OptionSpec } from "../command.ts";
import {
  dataOptions,
  displayOptions,
  force,
  output,
  outputOptions,
  propagationOptions,
  quantizer,
  quantizerOptions,
  seed,
  stats,
  strict,
  target,
  threads,
} from "../options.ts";
import { quantizeText } from "../quantize-text.ts";
import { runQuantize } from "./quantize.ts";

export const applyCommand = defineCommand({
  name: "apply",
  summary: "Quantizes a model as a saved plan says; nothing is scored.",
  arguments: ["model"],
  options: {
    plan: {
      flags: "--plan <file>",
      help: "plan of quantize plan or --save-plan, edited or not",
      required: true,
    } as OptionSpec<string>,
    output: output("where the quantized model goes"),
    ...dataOptions,
    quantizer,
    target,
    ...quantizerOptions,
    ...propagationOptions,
    stats,
    ...outputOptions,
    seed,
    threads,
    strict,
    force,
    ...displayOptions,
  },
  examples: ["quantize apply model.onnx --plan plan.json -o small.onnx -c text.txt"],
  async run([model], values, context) {
    const report = await runQuantize(model, { ...unset, ...values }, context, "apply");
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

/** What only choosing formats needs. */
const unset = {
  budget: undefined,
  scorer: undefined,
  formats: undefined,
  allocator: undefined,
  pin: undefined,
  minBits: undefined,
  maxBits: undefined,
  savePlan: undefined,
};
