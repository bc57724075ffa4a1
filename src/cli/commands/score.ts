/** `quantize score MODEL -o SCORES`: what each format costs each layer, in bytes and loss. */
import {
  checkOutputs,
  loadStatistics,
  type Measurements,
  scoreModel,
  writeText,
} from "../../index.ts";
import { defineCommand } from "../command.ts";
import { describeMethods } from "../methods.ts";
import { counted, significant } from "../numbers.ts";
import { displayOptions, force, memoryLimit, output, stageOptions, stats } from "../options.ts";
import { timeLine } from "../quantize-text.ts";
import type { Style } from "../style.ts";
import { facts, table } from "../table.ts";
import { noticeLines } from "../text.ts";
import { inputsOf } from "./quantize.ts";

export const scoreCommand = defineCommand({
  name: "score",
  summary: "Measures what each format would cost each layer, for quantize plan.",
  arguments: ["model"],
  options: {
    output: output("where the scores go (JSON)"),
    ...stageOptions,
    stats,
    memoryLimit,
    force,
    ...displayOptions,
  },
  examples: [
    "quantize score model.onnx -o scores.json -c text.txt",
    "quantize plan --scores scores.json -b 3.5bpw -o plan.json",
  ],
  details: () => describeMethods(["scorer", "quantizer", "target"]),
  async run([model], values, context) {
    const { output, force = false, stats } = values;
    const files = { inputs: inputsOf(model, values), force };
    await checkOutputs([output], { ...files, model, tokenizer: values.tokenizer });
    const statistics = stats === undefined ? undefined : await loadStatistics(stats);
    const measured = await scoreModel(model, {
      ...values,
      ...context,
      statistics,
      memoryLimitBytes: values.memoryLimit,
    });
    await writeText(output, serialize(measured), files);
    return {
      document: { ...measured, output: { path: output } },
      text: (style) => scoreText(measured, output, style),
    };
  },
});

/** One line per layer, so that files of two runs can be compared. */
function serialize({ layers, ...head }: Measurements): string {
  const lines = layers.map((layer) => `    ${JSON.stringify(layer)}`).join(",\n");
  return `${JSON.stringify(head, null, 2).replace(/\n}$/, "")},\n  "layers": [\n${lines}\n  ]\n}\n`;
}

/** Per layer the best loss of each width: the whole table has a column per format. */
function scoreText(measured: Measurements, output: string, style: Style): string {
  const { layers, unit, scorer, quantizer, data, notices, timings } = measured;
  const width = (format: string) => Number(/\d+/.exec(format)?.[0]);
  const integers = (layer: Measurements["layers"][number]) =>
    layer.alternatives.filter(({ format }) => format.startsWith("int"));
  const all = layers.flatMap((layer) => integers(layer).map(({ format }) => width(format)));
  const widths = [...new Set(all)].sort((a, b) => a - b);
  const best = (layer: Measurements["layers"][number], bits: number) => {
    const losses = integers(layer).filter(({ format }) => width(format) === bits);
    return losses.length === 0 ? "-" : significant(Math.min(...losses.map(({ loss }) => loss)));
  };
  const columns = [
    { title: "layer", flexible: true },
    ...widths.map((bits) => ({ title: `${bits} bits`, align: "right" as const })),
  ];
  const rows = layers.map((layer) => [layer.layer, ...widths.map((bits) => best(layer, bits))]);
  const formats = Math.max(...layers.map((layer) => layer.alternatives.length));
  const parts = [
    table(columns, rows, style),
    facts(
      [
        ["Losses", `${unit}, by ${scorer} with ${quantizer}; the best of each width above`],
        ["Scored", `${counted(layers.length, "layer")} in up to ${counted(formats, "format")}`],
        ["Data", data.description],
        ["Written", output],
        ["Time", timeLine(timings)],
      ],
      style,
    ),
  ];
  if (notices.length > 0) parts.push(noticeLines(notices, style));
  return parts.join("\n\n");
}
