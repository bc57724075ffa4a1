/** Where everything came from: enough to make the same bytes again. */
import type { QuantizeReport } from "../../document.ts";
import { html, type Part } from "../html.ts";
import { grouped } from "../numbers.ts";
import type { PageInput, Section } from "../section.ts";
import { factList } from "../table.ts";

export function originSection({ report }: PageInput): Section {
  const { commandLine, bitloom, options } = report;
  const say = html`<p>The same inputs, options and seed give the same bytes, whatever the number of threads.</p>`;
  const show = html`${
    commandLine === null
      ? html`<p class="soft">Made by a call of the library, bitloom ${bitloom}.</p>`
      : html`<pre><code>${commandLine}</code></pre>`
  }
${factList(fileFacts(report))}
<details><summary>All options</summary>
${factList(Object.entries(options).map(([name, value]) => [words(name), optionText(value)] as const))}
</details>`;
  return { id: "origin", title: "Provenance", say, show };
}

function fileFacts(report: QuantizeReport): [string, Part][] {
  const { model, output, environment, bitloom, options } = report;
  const { node, onnxRuntime, platform, threads } = environment;
  const hash = (text: unknown) => html`<code>${String(text)}</code>`;
  return [
    ["Model", html`${model.path}, ${grouped(model.bytes)} bytes`],
    ["Its sha256", hash(model.sha256)],
    ["Written", html`${output.files.join(", ")}, ${grouped(output.bytes)} bytes`],
    ["Its sha256", hash(output.sha256)],
    ["Calibration data", String(options.calibrationData ?? "none")],
    ["Its fingerprint", hash(options.calibrationFingerprint ?? "none")],
    ["Evaluation data", report.quality.data],
    ["Its fingerprint", hash(options.evaluationFingerprint ?? "none")],
    ["Seed", String(options.seed ?? 0)],
    [
      "Made with",
      `bitloom ${bitloom}, ONNX Runtime ${onnxRuntime}, Node ${node}, ${platform}, ${threads} thread${threads === 1 ? "" : "s"}`,
    ],
  ];
}

/** "calibrationSamples" → "calibration samples". */
const words = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

export function optionText(value: unknown): string {
  if (Array.isArray(value)) return value.length > 0 ? value.join(", ") : "none";
  if (value === null || value === undefined) return "not given";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
