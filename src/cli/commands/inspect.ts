/** `quantize inspect MODEL`: what can be quantized, what not and why, and how small. */
import { inspectModel, type ModelInspection, type PlanSize } from "../../index.ts";
import { defineCommand } from "../command.ts";
import { counted, exactBytes, grouped } from "../numbers.ts";
import { displayOptions, formats, target } from "../options.ts";
import type { Style } from "../style.ts";
import { facts, table } from "../table.ts";

export const inspectCommand = defineCommand({
  name: "inspect",
  summary: "Lists layers, skipped nodes with their reasons, and the budgets a plan can meet.",
  arguments: ["model"],
  options: { target, formats, ...displayOptions },
  examples: ["quantize inspect model.onnx", "quantize inspect model.onnx --target qdq --json"],
  async run([model], values) {
    const inspection = await inspectModel(model, values);
    return { document: inspection, text: (style) => inspectText(inspection, style) };
  },
});

function inspectText(inspection: ModelInspection, style: Style): string {
  const { layers, skipped } = inspection;
  const parts: string[] = [];
  if (layers.length > 0) parts.push(layersTable(inspection, style));
  if (skipped.length > 0) {
    const columns = [
      { title: "left in float", flexible: true },
      { title: "operator" },
      { title: "reason" },
    ];
    const rows = skipped.map(({ name, opType, reason }) => [name, opType, reason]);
    parts.push(table(columns, rows, style));
  }
  parts.push(facts(summaryFacts(inspection), style));
  return parts.join("\n\n");
}

function layersTable({ layers }: ModelInspection, style: Style): string {
  return table(
    [
      { title: "layer", flexible: true },
      { title: "operator" },
      { title: "[N, K]", align: "right" },
      { title: "type" },
      { title: "bytes", align: "right" },
      { title: "block" },
      { title: "uses", align: "right" },
    ],
    layers.map(({ name, opType, shape, dtype, bytes, block, uses }) => [
      name,
      opType,
      `[${shape.join(", ")}]`,
      dtype,
      grouped(bytes),
      block ?? "-",
      String(uses.length),
    ]),
    style,
  );
}

function summaryFacts(inspection: ModelInspection): [string, string][] {
  const { model, layers, blocks, skipped, budgetRange, target } = inspection;
  const opsets = Object.entries(model.opsets).map(([domain, version]) => `${domain} ${version}`);
  const entries: [string, string][] = [
    ["Model", `${model.path}, ${exactBytes(model.bytes)}`],
    [
      "Graph",
      `${counted(model.nodes, "node")}, IR ${model.irVersion}, opset ${opsets.join(", ")}` +
        (model.functions.length > 0 ? `, ${counted(model.functions.length, "function")}` : ""),
    ],
    ["Inputs", model.inputs.map(describeValue).join("\n") || "none"],
    ["Outputs", model.outputs.map(describeValue).join("\n") || "none"],
    [
      "Quantizable",
      layers.length === 0
        ? "nothing: the reasons are above, or the model has no constant weights"
        : `${counted(layers.length, "layer")} in ${counted(blocks.length, "block")}, ${grouped(inspection.weights)} weights, ${exactBytes(inspection.floatWeightBytes)}`,
    ],
    ["Left in float", counted(skipped.length, "node")],
  ];
  if (budgetRange) {
    const { smallest, largest } = budgetRange;
    entries.push([
      `Budgets`,
      `target ${target}\n${line("from", smallest)}\n${line("to", largest)}`,
    ]);
  }
  return entries;
}

const line = (end: string, { bitsPerWeight, bytes, fileBytes, filePercent }: PlanSize) =>
  `${end.padEnd(5)}${bitsPerWeight.toFixed(4)}bpw, weights ${exactBytes(bytes)}, file ${exactBytes(fileBytes)}, ${filePercent.toFixed(1)}%`;

function describeValue({ name, dtype, shape }: ModelInspection["model"]["inputs"][number]): string {
  return `${name}  ${dtype ?? "no tensor"} ${shape ? `[${shape.map((dim) => dim ?? "?").join(", ")}]` : "of unknown rank"}`;
}
