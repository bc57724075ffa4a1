/** `quantize calibrate MODEL -o STATS`: collects what later runs need. */
import { calibrateModel, checkOutputs, saveStatistics } from "../../index.ts";
import { defineCommand } from "../command.ts";
import { describeMethods } from "../methods.ts";
import { counted } from "../numbers.ts";
import { displayOptions, force, memoryLimit, output, stageOptions } from "../options.ts";
import { timeLine } from "../quantize-text.ts";
import { facts } from "../table.ts";
import { noticeLines } from "../text.ts";
import { inputsOf } from "./quantize.ts";

const { formats: _formats, ...options } = stageOptions;

export const calibrateCommand = defineCommand({
  name: "calibrate",
  summary: "Collects the statistics that scorer and quantizer need into a file for --stats.",
  arguments: ["model"],
  options: {
    output: output("where the statistics go (safetensors)"),
    ...options,
    memoryLimit,
    force,
    ...displayOptions,
  },
  examples: [
    "quantize calibrate model.onnx -o model.stats -c text.txt",
    "quantize score model.onnx --stats model.stats -o scores.json -c text.txt",
  ],
  details: () =>
    `Later runs must name the same data: statistics of another model, text, window,\nnumber of rows or seed are refused.\n\n${describeMethods(["scorer", "quantizer"])}`,
  async run([model], values, context) {
    const { output, force = false } = values;
    const files = { inputs: inputsOf(model, values), force };
    await checkOutputs([output], { ...files, model, tokenizer: values.tokenizer });
    const { statistics, report } = await calibrateModel(model, {
      ...values,
      ...context,
      memoryLimitBytes: values.memoryLimit,
    });
    await saveStatistics(statistics, output, files);
    return {
      document: { ...report, output: { path: output } },
      text: (style) => {
        const text = facts(
          [
            ["Statistics", report.statistics.join(", ") || "none are needed"],
            ["Layers", counted(report.layers.length, "layer")],
            ["Data", `${counted(report.data.samples, "sample")} of ${report.data.description}`],
            ["Written", output],
            ["Time", timeLine(report.timings)],
          ],
          style,
        );
        const notes = noticeLines(report.notices, style);
        return notes ? `${text}\n\n${notes}` : text;
      },
    };
  },
});
