/** `quantize evaluate FLOAT QUANTIZED`: what quantization has cost, on any data. */
import { BitloomError, evaluateFiles } from "../../index.ts";
import { defineCommand } from "../command.ts";
import { exactBytes, percent } from "../numbers.ts";
import { dataOptions, displayOptions, memoryLimit, seed, strict, threads } from "../options.ts";
import { timeLine } from "../quantize-text.ts";
import { facts } from "../table.ts";
import { noticeLines, qualityFacts } from "../text.ts";

const { calibration: _calibration, rows: _rows, ...options } = dataOptions;

export const evaluateCommand = defineCommand({
  name: "evaluate",
  summary: "Compares a quantized model with the float one: perplexity, KL, or SQNR and cosine.",
  arguments: ["float", "quantized"],
  options: {
    ...options,
    evaluate: { ...options.evaluate, help: "text, .jsonl manifest of feeds or .npy array" },
    seed,
    threads,
    strict,
    memoryLimit,
    ...displayOptions,
  },
  examples: [
    "quantize evaluate model.onnx small.onnx -e text.txt",
    "quantize evaluate model.onnx small.onnx -e wiki.txt --protocol hf-2048",
  ],
  async run([float, quantized], values, context) {
    refuseBesideProtocol(values);
    const memoryLimitBytes = values.memoryLimit;
    const report = await evaluateFiles(float, quantized, {
      ...values,
      ...context,
      memoryLimitBytes,
    });
    return {
      document: report,
      text: (style) => {
        const { float, quantized, notices } = report;
        const sizes = `${exactBytes(float.bytes)} -> ${exactBytes(quantized.bytes)}, ${percent(quantized.bytes / float.bytes)}`;
        const entries: [string, string][] = [
          ["Models", `${float.path} -> ${quantized.path}`],
          ["File", sizes],
          ...qualityFacts(report.quality),
          ["Time", timeLine(report.timings)],
        ];
        const notes = notices.length > 0 ? `\n\n${noticeLines(notices, style)}` : "";
        return facts(entries, style) + notes;
      },
    };
  },
});

/** There is no other text here that they could be meant for. */
function refuseBesideProtocol(values: {
  readonly protocol?: string | undefined;
  readonly window?: number | undefined;
  readonly bos?: unknown;
}): void {
  const given = (["window", "bos"] as const).find((key) => values[key] !== undefined);
  if (values.protocol === undefined || given === undefined) return;
  throw new BitloomError(
    "bad-option",
    `Option --${given} does nothing beside --protocol, which says window and BOS. Leave one of them out.`,
    { option: given },
  );
}
