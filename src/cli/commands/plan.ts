/** `quantize plan --scores SCORES --budget B`: solves for a budget, without the model. */
import {
  type BitPlan,
  checkOutputs,
  loadMeasurements,
  parseFormat,
  planFormats,
  savePlan,
} from "../../index.ts";
import { defineCommand, type OptionSpec } from "../command.ts";
import { describeMethods } from "../methods.ts";
import { exactBytes, significant } from "../numbers.ts";
import {
  allocator,
  budget,
  constraintOptions,
  displayOptions,
  force,
  type Maybe,
} from "../options.ts";
import { facts } from "../table.ts";
import { formatCounts, layerTable } from "../text.ts";

export const planCommand = defineCommand({
  name: "plan",
  summary: "Chooses one format per layer for a budget, from saved scores, in milliseconds.",
  arguments: [],
  options: {
    scores: {
      flags: "--scores <file>",
      help: "scores of quantize score",
      required: true,
    } as OptionSpec<string>,
    budget: { ...budget, required: true } as OptionSpec<string>,
    output: {
      flags: "-o, --output <file>",
      help: "where the plan goes; only shown when left out",
    } as Maybe<string>,
    allocator,
    ...constraintOptions,
    force,
    ...displayOptions,
  },
  examples: [
    "quantize plan --scores scores.json -b 3.5bpw",
    "quantize plan --scores scores.json -b 25% -p '*head*=int8-b32' -o plan.json",
    "quantize apply model.onnx --plan plan.json -o small.onnx -c text.txt",
  ],
  details: () =>
    `Budgets that speak of the file keep the nodes of the dearest formats in\nreserve. The plan is not compared with uniform bits: that needs the model.\n\n${describeMethods(["allocator"])}`,
  async run(_, values) {
    const { scores, output, force = false, pin } = values;
    const files = { inputs: [scores], force };
    if (output !== undefined) await checkOutputs([output], files);
    const measured = await loadMeasurements(scores);
    const plan = await planFormats(measured, { ...values, pins: pin });
    if (output !== undefined) await savePlan(plan, output, files);
    const document = toDocument(plan, measured.weights, output);
    return {
      document,
      text: (style) => {
        const { layers, bitsPerWeight, weightBytes, budgetBytes, loss } = document;
        const entries: [string, string][] = [
          ["Formats", formatCounts(layers)],
          [
            "Weights",
            `${bitsPerWeight.toFixed(4)} bits each, ${exactBytes(weightBytes)}; budget ${exactBytes(budgetBytes)}`,
          ],
          ["Loss", `${significant(loss)}, predicted by ${plan.scorer} (${measured.unit})`],
        ];
        if (output !== undefined) entries.push(["Written", output]);
        return `${layerTable(layers, style)}\n\n${facts(entries, style)}`;
      },
    };
  },
});

function toDocument(plan: BitPlan, weights: number, path: string | undefined) {
  const { scorer, allocator, quantizer, target, budgetBytes } = plan;
  const weightBytes = plan.layers.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    version: 1,
    command: "plan",
    output: path === undefined ? null : { path },
    scorer,
    allocator,
    quantizer,
    target,
    budgetBytes,
    weightBytes,
    bitsPerWeight: (8 * weightBytes) / weights,
    loss: plan.layers.reduce((sum, { loss }) => sum + loss, 0),
    layers: plan.layers.map(({ layer, format, bytes, loss }) => ({
      name: layer,
      format,
      bits: parseFormat(format).bits,
      bytes,
      loss,
    })),
  };
}
